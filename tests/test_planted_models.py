"""Models whose truth is known from the construction: a fake or a mix-up anywhere on the way cannot pass these."""

import numpy as np
import pytest
import torch

from ato.errors import CorpusError
from ato.evaluation.ceilings import CanonicalModes
from ato.evaluation.held_out_ceilings import ModeScores
from ato.evaluation.residual_scores import PairScores
from ato.models import load_model, pad
from ato.moments import Moments
from ato.operators.fitting import fit_operator, fit_operator_from_moments
from ato.residuals import MemorySource, run_pass
from ato.residuals.exclusion import ExclusionPolicy
from ato.residuals.live import LiveSource, median_norms
from ato.text import Document, TokenSequence
from ato.text.documents import document_id
from ato.text.sequences import check_folds, make_sequences
from ato.text.splits import group_names
from tests.tiny_models import plant_linear_blocks, save_identity_model, save_tiny_model

N_FOLDS = 2
WIDTH = 16


def sequences_of_random_tokens(n: int = 60, length: int = 24) -> list[TokenSequence]:
    """Sequences of random byte tokens, each a document of its own, dealt to all groups."""
    rng = np.random.default_rng(0)
    groups = [("train", 0), ("train", 1), ("train", 0), ("val", None), ("test", None)]
    return [
        TokenSequence(i, f"{i:016x}", i, *groups[i % len(groups)], 0, rng.integers(3, 259, length).astype(np.int32), "")
        for i in range(n)
    ]


def live_source(model, layers, **options) -> LiveSource:
    """A live source that drops nothing but what the options say."""
    policy = options.pop("policy", ExclusionPolicy(max_norm_multiple=None))
    return LiveSource(model, sequences_of_random_tokens(), layers, n_folds=N_FOLDS, policy=policy, **options)


@pytest.fixture(scope="module")
def linear_model(tmp_path_factory):
    """A llama whose block l is exactly x -> x + W_l x, with the matrices W_l."""
    model = load_model(
        save_tiny_model(tmp_path_factory.mktemp("linear"), n_layers=4, d_model=WIDTH), device="cpu", dtype="float32"
    )
    rng = np.random.default_rng(1)
    matrices = [0.3 * rng.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH) for _ in range(4)]
    plant_linear_blocks(model.blocks, matrices)
    return model, matrices


@pytest.mark.parametrize("leap", [1, 2, 3])
def test_the_operator_of_a_linear_transformer_is_the_product_of_its_blocks(linear_model, leap):
    model, matrices = linear_model
    moments = Moments([(0, leap)], n_folds=N_FOLDS, precision="float64")
    run_pass(live_source(model, (0, leap)), [moments])
    fit = fit_operator_from_moments(moments, 0, leap, "linear")
    truth = np.eye(WIDTH)
    for matrix in matrices[1 : leap + 1]:
        truth = (np.eye(WIDTH) + matrix) @ truth
    scored = PairScores(moments, 0, leap, {"linear": fit.operator})
    run_pass(live_source(model, (0, leap)), [scored], splits=["test"])
    assert np.allclose(fit.operator.matrix, truth, atol=1e-5)
    assert scored.result()["linear"].r2.value == pytest.approx(1, abs=1e-6)


def test_a_model_whose_blocks_add_nothing_is_carried_whole(tmp_path):
    model = load_model(save_identity_model(tmp_path, n_layers=3, d_model=WIDTH), device="cpu", dtype="float32")
    source = live_source(model, (0, 2))
    moments = Moments([(0, 2)], n_folds=N_FOLDS)
    run_pass(source, [moments])
    operators = {m: fit_operator_from_moments(moments, 0, 2, m).operator for m in ("linear", "identity")}
    scores = PairScores(moments, 0, 2, operators)
    modes = ModeScores(CanonicalModes.from_moments(moments, 0, 2))
    run_pass(source, [scores, modes], splits=["test"])
    results = scores.result()
    assert results["identity"].r2.value == 1
    assert results["linear"].r2.value == pytest.approx(1, abs=1e-9)
    assert modes.efficiency(WIDTH) == pytest.approx(1, abs=1e-6)
    ids, lengths = pad([s.token_ids for s in sequences_of_random_tokens(4)])
    carried = model.residuals(ids, lengths, [0])[0]
    operator = operators["linear"]
    assert torch.allclose(
        model.losses_from(2, operator(carried), ids, lengths), model.token_losses(ids, lengths), atol=1e-5
    )


def test_a_planted_rank_is_the_numeric_rank_and_the_subspace():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((4000, 24))
    y = x @ rng.standard_normal((24, 5)) @ rng.standard_normal((5, 24)) + 1e-3 * rng.standard_normal((4000, 24))
    fit = fit_operator(x, y, method="linear", cv_folds=2)
    singular = np.linalg.svd(fit.operator.matrix, compute_uv=False)
    rho = CanonicalModes.from_arrays(x, y).rho_in_sample
    assert (singular > 1e-2 * singular[0]).sum() == 5
    assert (rho > 0.9).sum() == 5


def test_a_feature_moved_by_attention_is_missed_at_its_own_position_and_found_at_the_one_it_came_from():
    rng = np.random.default_rng(3)
    sequences, length, width = 200, 20, 8
    x = rng.standard_normal((sequences, length, width))
    y = np.roll(x, 1, axis=1)  # each position holds what stood at the one before it
    inner = (slice(None), slice(1, None))
    same = fit_operator(x[inner].reshape(-1, width), y[inner].reshape(-1, width), alphas=[1.0], cv_folds=2)
    previous = fit_operator(x[:, :-1].reshape(-1, width), y[inner].reshape(-1, width), alphas=[1.0, 10.0], cv_folds=2)
    held_out = rng.standard_normal((50, length, width))
    moved = np.roll(held_out, 1, axis=1)[inner].reshape(-1, width)
    residual = moved - same.operator(held_out[inner].reshape(-1, width))
    assert 1 - (residual**2).sum() / (moved**2).sum() < 0.01
    residual = moved - previous.operator(held_out[:, :-1].reshape(-1, width))
    assert 1 - (residual**2).sum() / (moved**2).sum() > 0.99


def test_an_activation_sink_makes_a_high_r2_that_leaving_it_out_takes_away():
    rng = np.random.default_rng(4)
    n, width = 4000, 12
    x, y = rng.standard_normal((2, n, width))
    sink = np.arange(n) % 20 == 0
    x[sink] += 2000 * np.ones(width)
    y[sink] += 3000 * np.ones(width)
    group = (np.arange(n) // 200) % (N_FOLDS + 2)
    source = MemorySource(
        {0: torch.from_numpy(x).float(), 1: torch.from_numpy(y).float()},
        document=np.arange(n) // 200,
        group=group,
        n_folds=N_FOLDS,
    )
    norms = {layer: r.norm(dim=1).numpy() for layer, r in ((0, torch.from_numpy(x)), (1, torch.from_numpy(y)))}
    outliers = ExclusionPolicy().norm_outliers(norms, median_norms(source.blocks()))
    assert (outliers == sink).all()
    scores = {}
    for name, rows in (("with", np.ones(n, bool)), ("without", ~outliers)):
        moments = Moments([(0, 1)], n_folds=N_FOLDS)
        moments.update({0: torch.from_numpy(x[rows]), 1: torch.from_numpy(y[rows])}, group=group[rows])
        fit = fit_operator_from_moments(moments, 0, 1, alphas=[1.0])
        pair = PairScores(moments, 0, 1, {"ridge": fit.operator})
        test = rows & (group == group_names(N_FOLDS).index("test"))
        pair.update(torch.from_numpy(x[test]), torch.from_numpy(y[test]), np.arange(n)[test] // 200)
        scores[name] = pair.result()["ridge"].r2.value
    assert scores["with"] > 0.9
    assert scores["without"] < 0.05


def test_duplicate_documents_never_stand_on_two_sides_of_a_split(tmp_path):
    model = load_model(save_tiny_model(tmp_path, n_layers=1, d_model=WIDTH), device="cpu", dtype="float32")
    texts = [f"document {i} " * 8 for i in range(80)]
    documents = [Document(document_id(t), str(i), t) for i, t in enumerate(texts + texts[:40])]
    cut = list(
        make_sequences(
            documents,
            model.tokenizer,
            seq_len=16,
            n_tokens=None,
            max_sequences_per_document=3,
            min_len=8,
            split_seed=0,
            n_folds=N_FOLDS,
        )
    )
    sides: dict[str, set[str]] = {}
    for sequence in cut:
        sides.setdefault(sequence.document_id, set()).add(sequence.split)
    assert {len(splits) for splits in sides.values()} == {1}
    assert len({s.document_id for s in cut}) == 80
    with pytest.raises(CorpusError, match="too few"):
        check_folds([s for s in cut if s.split == "train"], N_FOLDS)
