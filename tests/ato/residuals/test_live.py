"""The live source: the right rows, under the right keys, each token either kept or counted."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ato.errors import LayerError, NonFiniteError
from ato.models import LanguageModel, load_model
from ato.residuals import ResidualBlock, ResidualSource, run_pass
from ato.residuals.exclusion import ExclusionPolicy
from ato.residuals.live import LiveSource, median_norms
from ato.text import Document
from ato.text.documents import document_id
from ato.text.sequences import make_sequences
from tests.tiny_models import save_tiny_model

KEEP_ALL = ExclusionPolicy(skip_special=False, skip_first=False, max_norm_multiple=None)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama")), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def sequences(model):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh "), rng.integers(6, 60))) + str(i) for i in range(40)]
    docs = [Document(document_id(text), "test", text) for text in texts]
    options = dict(seq_len=16, n_tokens=None, max_sequences_per_document=2, min_len=4, split_seed=0, n_folds=3)
    return list(make_sequences(docs, model.tokenizer, **options, prepend_bos=True))


def source(model, sequences, **options) -> LiveSource:
    defaults = {"layers": [0, 2, 3], "n_folds": 3, "batch_size": 4}
    return LiveSource(model, sequences, **defaults | options)


def rows(blocks) -> dict[tuple[int, int], tuple]:
    """(sequence, position) -> token, document, group, residual per layer."""
    found = {}
    for block in blocks:
        for i in range(block.n):
            key = (int(block.sequence_id[i]), int(block.position[i]))
            assert key not in found
            residuals = {layer: x[i] for layer, x in block.residuals.items()}
            found[key] = (int(block.token_id[i]), int(block.document[i]), int(block.group[i]), residuals)
    return found


def test_it_is_a_residual_source(model, sequences):
    assert isinstance(source(model, sequences), ResidualSource)


def test_every_row_is_the_residual_of_its_own_token(model, sequences):
    found = rows(source(model, sequences, policy=KEEP_ALL).blocks())
    assert len(found) == sum(len(s.token_ids) for s in sequences)
    for s in sequences:
        ids = torch.tensor(s.token_ids[None], dtype=torch.long)
        truth = model.residuals(ids, torch.tensor([ids.shape[1]]), [0, 2, 3])
        for position, token in enumerate(s.token_ids):
            row = found[s.sequence_id, position]
            assert row[:3] == (token, s.document, s.group(3))
            for layer in (0, 2, 3):
                torch.testing.assert_close(row[3][layer], truth[layer][0, position], rtol=1e-3, atol=1e-4)


def test_blocks_are_float32_whatever_the_model_runs_in(tmp_path, sequences):
    model = load_model(save_tiny_model(tmp_path), device="cpu", dtype="bfloat16")
    block = next(source(model, sequences).blocks())
    assert block.residuals[0].dtype == torch.float32
    assert block.residuals[0].shape == (block.n, 32)
    assert not block.residuals[0].is_inference()


def test_kept_and_dropped_tokens_add_up_to_the_tokens_run(model, sequences):
    medians = median_norms(source(model, sequences).blocks())
    live = source(model, sequences, policy=ExclusionPolicy(max_norm_multiple=1.3), median_norm=medians)
    kept = sum(block.n for block in live.blocks())
    assert live.tokens_run == sum(len(s.token_ids) for s in sequences)
    assert kept + sum(live.dropped.values()) == live.tokens_run
    assert set(live.dropped) == {"special_token", "norm_outlier"}  # position 0 is the BOS here, hence special
    assert live.dropped["special_token"] == len(sequences)
    again = sum(block.n for block in live.blocks())
    assert (again, sum(live.dropped.values())) == (kept, live.tokens_run - kept)


def test_the_norm_rule_drops_exactly_the_tokens_beyond_the_limit_at_all_layers(model, sequences):
    everything = rows(source(model, sequences).blocks())
    medians = median_norms(source(model, sequences).blocks())
    policy = ExclusionPolicy(max_norm_multiple=1.3)
    kept = rows(source(model, sequences, policy=policy, median_norm=medians).blocks())
    expected = {
        key
        for key, row in everything.items()
        if all(row[3][layer].norm() <= 1.3 * medians[layer] for layer in (0, 2, 3))
    }
    assert 0 < len(expected) < len(everything)
    assert set(kept) == expected


def test_dropped_tokens_do_not_depend_on_the_layers_or_splits_asked_for(model, sequences):
    medians = median_norms(source(model, sequences).blocks())
    options = {"policy": ExclusionPolicy(max_norm_multiple=1.3), "median_norm": medians}
    everything = rows(source(model, sequences, **options).blocks())
    live = source(model, sequences, **options)
    for _ in range(2):  # the first pass judges the tokens, the second remembers
        few = rows(live.blocks(layers=[0]))
        assert set(few) == set(everything)
        assert all(torch.equal(few[key][3][0], everything[key][3][0]) for key in few)
    test_only = rows(live.blocks(splits={"test"}))
    assert set(test_only) == {key for key, row in everything.items() if row[2] == 4}
    assert all(torch.equal(test_only[key][3][3], everything[key][3][3]) for key in test_only)


def test_two_passes_give_the_same_bytes_in_the_same_order_whatever_the_order_of_sequences(model, sequences):
    first = list(source(model, sequences).blocks())
    second = list(source(model, sequences[::-1]).blocks())
    assert len(first) == len(second)
    for a, b in zip(first, second):
        assert np.array_equal(a.sequence_id, b.sequence_id)
        assert all(torch.equal(a.residuals[layer], b.residuals[layer]) for layer in a.layers)


def test_joined_gives_the_rows_and_keys_of_all_blocks_with_outliers_left_out(model, sequences):
    medians = median_norms(source(model, sequences).blocks())
    options = {"policy": ExclusionPolicy(max_norm_multiple=1.3), "median_norm": medians}
    one, other = source(model, sequences, **options), source(model, sequences, **options)
    expected, found = ResidualBlock.join(list(one.blocks())), other.joined()
    assert one.dropped == other.dropped
    assert one.dropped["norm_outlier"] > 0
    for name in ("sequence_id", "position", "token_id", "document", "group"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert all(torch.equal(found.residuals[layer], expected.residuals[layer]) for layer in (0, 2, 3))
    assert torch.equal(found.norm(2), torch.linalg.vector_norm(found.residuals[2], dim=1))


def test_batches_hold_sequences_of_like_length(model, sequences):
    widths = []
    original = model.read

    class Watching:
        def __getattr__(self, name):
            return getattr(model, name)

        def read(self, ids, lengths, layers, **options):
            widths.append((int(lengths.min()), int(lengths.max())))
            return original(ids, lengths, layers, **options)

    list(source(Watching(), sequences).blocks())
    per_split = {s.split for s in sequences}
    changes = sum(low != high for low, high in widths)
    assert changes < len(widths)
    assert sum(a[0] < b[1] for a, b in pairwise(widths)) <= len(per_split) - 1


def test_unknown_layers_and_layers_without_a_median_are_refused(model, sequences):
    with pytest.raises(LayerError, match="0 to 3"):
        source(model, sequences, layers=[4])
    with pytest.raises(LayerError, match=r"layers \[1\] are not in this source.*\[0, 2, 3\]"):
        list(source(model, sequences).blocks(layers=[1]))
    with pytest.raises(LayerError, match=r"\[3\] have no median"):
        source(model, sequences, median_norm={0: 1.0, 2: 1.0})


def test_an_infinite_residual_is_reported_and_not_dropped(tmp_path, sequences):
    model = load_model(save_tiny_model(tmp_path), device="cpu", dtype="float32")
    medians = median_norms(source(model, sequences).blocks())
    with torch.no_grad():
        model.module.model.embed_tokens.weight[model.tokenizer("a")["input_ids"]] = float("inf")
    with pytest.raises(NonFiniteError, match=r"sequence.*position"):
        run_pass(source(model, sequences, median_norm=medians), [])


def test_the_pilot_measures_the_median_norm_of_every_layer(model, sequences):
    blocks = list(source(model, sequences).blocks())
    norms = np.linalg.norm(torch.cat([block.residuals[2] for block in blocks]).double().numpy(), axis=1)
    assert median_norms(iter(blocks))[2] == pytest.approx(np.median(norms), rel=1e-6)
    assert set(median_norms(blocks)) == {0, 2, 3}
