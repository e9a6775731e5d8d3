"""A planted feature of a concept is found first, measured on texts that did not choose it, and told from chance."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ato.errors import InputError, SettingsError
from ato.features.concept_texts import own_texts, phrase_texts
from ato.features.search import SearchSettings, aurocs, find_features
from ato.features.text_activations import SearchedSAE, text_activations, tokenize
from ato.models import LanguageModel, load_model
from ato.saes import SparseAutoencoder
from tests.tiny_models import byte_tokenizer, save_identity_model

D, D_SAE, LAYER = 32, 40, 1
PLANTED, (LETTER,) = 17, byte_tokenizer().encode("Z")
"""A feature that fires on the byte "Z" alone; no template and no other phrase has it."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    """Blocks add nothing: the residual of a byte is its embedding."""
    return load_model(save_identity_model(tmp_path_factory.mktemp("identity"), n_layers=2), dtype="float32")


def planted_sae(model: LanguageModel, seed: int = 0) -> SparseAutoencoder:
    """Random features that fire on many bytes, and one that fires on one byte."""
    table = model.module.get_input_embeddings().weight.detach()
    g = torch.Generator().manual_seed(seed)
    W_enc = torch.randn(D, D_SAE, generator=g)
    b_enc = torch.zeros(D_SAE)
    own = table[LETTER] / table[LETTER].norm()
    W_enc -= own[:, None] * (own @ W_enc)  # no other feature says anything about it
    W_enc[:, PLANTED] = own
    others = torch.cat([table[:LETTER], table[LETTER + 1 :]]) @ own
    b_enc[PLANTED] = -float(others.max())
    assert float(table[LETTER].norm()) > float(others.max())
    return SparseAutoencoder("standard", W_enc, b_enc, W_enc.T.clone(), torch.zeros(D))


@pytest.fixture(scope="module")
def saes(model) -> list[SearchedSAE]:
    other = planted_sae(model, 5)
    other.b_enc[PLANTED] = -1e6
    return [SearchedSAE("other", 0, other), SearchedSAE("planted", LAYER, planted_sae(model))]


def test_a_planted_concept_is_found_first_with_an_interval_and_beyond_its_null(model, saes):
    search = find_features(model, saes, phrase_texts("ZZ Z"), SearchSettings(n_found=5))
    first, *rest = search.found
    assert (first.sae, first.layer, first.feature_id) == ("planted", LAYER, PLANTED)
    assert (first.auroc.value, first.auroc.high, first.auroc_chosen) == (1, 1, 1)
    assert 0.7 < first.auroc.low < 1  # twelve templates
    assert (first.share_with, first.share_without, first.mean_without) == (1, 0, 0)
    assert (first.share_on_phrase, first.auroc_elsewhere) == (1, 0.5)  # blocks carry nothing to other tokens
    assert all(a.auroc_chosen >= b.auroc_chosen for a, b in zip(search.found, rest))
    assert (search.null, search.n_features, search.n_with) == ("other phrases", 2 * D_SAE, 12)
    assert len(search.null_aurocs) > 15
    assert search.baseline_auroc == 1  # the byte itself is as good
    assert first.p >= 1 / (1 + len(search.null_aurocs))


def test_outside_the_phrase_nothing_tells_texts_of_one_frame_apart(model, saes):
    search = find_features(model, saes, phrase_texts("ZZ Z"), SearchSettings(tokens="elsewhere"))
    assert all(one.auroc.value == pytest.approx(0.5) for one in search.found)
    assert PLANTED not in {one.feature_id for one in search.found if one.sae == "planted"}


def texts_of_a_user(seed: int = 0, planted: bool = True):
    rng = np.random.default_rng(seed)

    def some(letter: str) -> list[str]:
        return ["".join(rng.choice(list("abcdefghijklmno "), 30)) + letter + "xyz" for _ in range(24)]

    return own_texts("at", some("Z" if planted else "m"), some("n"), phrase="Z" if planted else "")


def test_in_texts_of_a_user_permuted_labels_reach_it_no_more_often_than_chance(model, saes):
    search = find_features(model, saes, texts_of_a_user(), SearchSettings(n_permutations=40))
    assert search.found[0].feature_id == PLANTED
    assert search.found[0].p == pytest.approx(1 / 41)
    assert search.null == "permuted labels"
    assert 0.3 < search.null_high < 1
    assert search.found[0].auroc_own_words is None


def test_without_a_concept_what_was_chosen_is_not_confirmed(model, saes):
    found = [
        find_features(model, saes, texts_of_a_user(seed, planted=False), SearchSettings(n_found=1)).found[0]
        for seed in range(8)
    ]
    assert np.mean([one.auroc_chosen for one in found]) > np.mean([one.auroc.value for one in found]) + 0.05
    assert all(one.share_on_phrase is None and one.auroc_elsewhere is None for one in found)


def test_aurocs_are_scikit_learns_with_ties_and_without_rows_of_neither_class():
    rng = np.random.default_rng(0)
    values, labels = np.maximum(rng.standard_normal((60, 7)), 0), rng.choice([1, 0, -1], 60)
    values[3], both = np.nan, (labels >= 0) & (np.arange(60) != 3)
    expected = [roc_auc_score(labels[both], column) for column in values[both].T]
    np.testing.assert_allclose(aurocs(values, labels), expected, rtol=1e-12)
    assert np.isnan(aurocs(values, np.ones(60))).all()
    assert aurocs(values[:, :0], labels).shape == (0,)
    np.testing.assert_allclose(aurocs(np.ones((60, 2)), labels), 0.5)


@pytest.mark.parametrize("batch_size", [1, 3, 50])
@pytest.mark.parametrize("reduce", ["max", "mean"])
def test_activations_of_a_text_are_those_of_its_counted_tokens_whatever_the_batch(model, saes, reduce, batch_size):
    texts = ["abZcd", "ZZ", "a longer text, Z here", "Zx", "plain"]
    spans = [[(2, 3)], [(0, 2)], [], [(0, 2)], []]
    run = tokenize(model.tokenizer, texts, spans, special_ids=model.special_token_ids)
    found = text_activations(model, saes, run, reduce, batch_size=batch_size)
    assert [ids.tolist() for ids in run.token_ids] == [model.tokenizer.encode(text) for text in texts]
    table = model.module.get_input_embeddings().weight.detach()
    for one, of_sae in zip(saes, found):
        for i, ids in enumerate(run.token_ids):
            a = one.sae.encode(table[torch.tensor(ids)]).numpy()
            counted = np.arange(len(ids)) > 0
            outside = counted & ~run.in_span[i]
            own = a[counted].max(0) if reduce == "max" else a[counted].mean(0)
            np.testing.assert_allclose(of_sae.values[i], own, rtol=1e-4, atol=1e-4)
            if outside.any():
                own = a[outside].max(0) if reduce == "max" else a[outside].mean(0)
                np.testing.assert_allclose(of_sae.elsewhere[i], own, rtol=1e-4, atol=1e-4)
            else:
                assert np.isnan(of_sae.elsewhere[i]).all()


def test_long_texts_are_cut_and_counted_and_a_bos_is_put_in_front(model):
    run = tokenize(model.tokenizer, ["abcdef", "ab"], [[(0, 1)], []], prepend_bos=True, max_tokens=4)
    assert [ids[0] for ids in run.token_ids] == [model.tokenizer.bos_token_id] * 2
    assert [len(ids) for ids in run.token_ids] == [4, 3]
    assert run.in_span[0].tolist() == [False, True, False, False]
    assert run.n_cut == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [({"tokens": "some"}, "all, elsewhere"), ({"n_found": 0}, "use 1 or more"), ({"max_tokens": 1}, "use 2 or more")],
)
def test_settings_out_of_range_are_refused(change, words):
    with pytest.raises(SettingsError, match=words):
        SearchSettings(**change)


def test_what_cannot_be_searched_is_refused_in_one_line(model, saes):
    with pytest.raises(InputError, match="no SAE to search"):
        find_features(model, [], phrase_texts("ZZ"), SearchSettings())
    with pytest.raises(SettingsError, match="max, mean"):
        find_features(model, saes, phrase_texts("ZZ"), SearchSettings(reduce="sum"))
    with pytest.raises(SettingsError, match="does not name it"):
        find_features(model, saes, texts_of_a_user(planted=False), SearchSettings(tokens="elsewhere"))
    with pytest.raises(InputError, match="no token but the first"):
        find_features(model, saes, own_texts("x", list("abcd"), list("efgh")), SearchSettings())
    sites = [saes[0], SearchedSAE("mlp", 0, saes[0].sae, "mlp_out")]
    with pytest.raises(SettingsError, match="mlp_out and resid_post"):
        find_features(model, sites, phrase_texts("ZZ"), SearchSettings())
