"""Causal perplexity against the plainest computation: one edit, one sequence, the whole model, at a time."""

import numpy as np
import pytest
import torch

from ato.causal.interventions import FeatureEdits, Intervention, PositionSet, ResidualEdits
from ato.causal.losses import causal_losses, full_length_sequences
from ato.errors import DataError, InputError, NonFiniteError
from ato.models import LanguageModel, load_model
from ato.operators import TransportOperator
from ato.residuals.exclusion import ExclusionPolicy
from ato.saes import SparseAutoencoder
from ato.text import TokenSequence
from tests.tiny_models import FAMILIES, n_hooks, plant_linear_blocks, save_identity_model, save_tiny_model

LENGTH = 20
SETS = [PositionSet.parse(text) for text in ("3,9,14", "10", "all")]


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2"])
def model(request, tmp_path_factory) -> LanguageModel:
    folder = save_tiny_model(tmp_path_factory.mktemp(request.param), request.param)
    return load_model(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def llama(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama")), device="cpu", dtype="float32")


def text(n: int = 3, length: int = LENGTH, seed: int = 0) -> list[TokenSequence]:
    rng = np.random.default_rng(seed)
    ids = rng.integers(3, 259, (n, length)).astype(np.int32)
    return [TokenSequence(70 + i, f"{i:016x}", i // 2, "test", None, 0, ids[i], "") for i in range(n)]


def operator(d: int, source: int = 0, target: int = 2) -> TransportOperator:
    rng = np.random.default_rng(source)
    near = np.eye(d) + 0.1 * rng.normal(size=(d, d))
    return TransportOperator(near, rng.normal(size=d), "ridge", source, target, y_mean=rng.normal(size=d))


def exact(d: int, source: int, matrix: np.ndarray | None = None) -> TransportOperator:
    return TransportOperator(np.eye(d) if matrix is None else matrix, np.zeros(d), "ridge", source, y_mean=np.zeros(d))


def random_sae(d: int) -> SparseAutoencoder:
    decoder = torch.tensor(np.random.default_rng(1).normal(size=(6, d)), dtype=torch.float32)
    return SparseAutoencoder("topk", decoder.T.contiguous(), torch.zeros(6), decoder, torch.zeros(d), k=1)


def log_probabilities(model: LanguageModel, ids: torch.Tensor, layer: int, residual: torch.Tensor) -> torch.Tensor:
    hidden = model.hidden_from(layer, residual[None], ids, torch.tensor([ids.shape[1]]))
    return model.logits(hidden)[0].double().log_softmax(-1)


def test_every_number_is_that_of_one_edit_and_one_sequence_at_a_time(model):
    d, layer = model.d_model, 2
    plans = [
        ResidualEdits(layer, {0: operator(d), 1: operator(d, 1)}, SETS, seed=3),
        FeatureEdits(layer, {1: operator(d, 1)}, random_sae(d), [0, 4]),
        ResidualEdits(1, {0: operator(d, 0, 1)}, SETS[:2], ["transport", "zero"]),
    ]
    sequences, before = text(), n_hooks(model)
    found = causal_losses(model, plans, sequences, batch_size=2)
    assert n_hooks(model) == before
    assert found.sequence_id.tolist() == [70, 71, 72]
    assert found.document.tolist() == [0, 0, 1]
    editable = torch.arange(LENGTH) > 0
    for row, sequence in enumerate(sequences):
        ids, lengths = torch.tensor(sequence.token_ids, dtype=torch.long)[None], torch.tensor([LENGTH])
        residuals = {k: x[0] for k, x in model.residuals(ids, lengths, [0, 1, 2]).items()}
        clean = model.token_losses(ids, lengths)[0].double().numpy()
        log_p = log_probabilities(model, ids, layer, residuals[layer])
        assert found.log_ppl[row] == pytest.approx(clean.mean(), rel=1e-5)
        for plan, results in zip(plans, found.edits):
            assert list(results) == plan.names
            for edit, mask, edited in plan.edits(residuals, editable):
                own = {name: values[row] for name, values in vars(results[edit]).items()}
                losses = model.token_losses(ids, lengths, lambda _, x=edited: x[None], plan.layer)[0].double().numpy()
                assert own["n_edited"] == mask.sum()
                assert own["log_ppl"] == pytest.approx(losses.mean(), rel=1e-5)
                if not mask[:-1].any():
                    assert np.isnan([own["kl"], own["log_ppl_edited_onwards"], own["clean_edited_onwards"]]).all()
                    continue
                first = int(mask.nonzero()[0])
                log_q = log_probabilities(model, ids, plan.layer, edited)
                kl = (log_p.exp() * (log_p - log_q)).sum(-1)[first:-1].mean().item()
                assert own["log_ppl_edited_onwards"] == pytest.approx(losses[first:].mean(), rel=1e-5)
                assert own["clean_edited_onwards"] == pytest.approx(clean[first:].mean(), rel=1e-5)
                assert own["kl"] == pytest.approx(kl, rel=1e-3, abs=2e-6)


def test_batch_size_and_the_company_of_other_edits_change_nothing(llama):
    d = llama.d_model
    whole = ResidualEdits(2, {0: operator(d), 1: operator(d, 1)}, SETS)
    together = causal_losses(llama, [whole], text(5), batch_size=8).edits[0]
    alone = ResidualEdits(2, {1: operator(d, 1)}, SETS[1:], ["transport", "mean"])
    for edit, found in causal_losses(llama, [alone], text(5), batch_size=1).edits[0].items():
        if edit.name == "transport":
            for name, values in vars(found).items():
                np.testing.assert_allclose(values, vars(together[edit])[name], rtol=1e-4, atol=1e-6)


def test_the_true_residual_put_back_changes_no_logit(model):
    d, top = model.d_model, model.n_layers - 1
    for layer in (0, 2, top):
        plan = ResidualEdits(layer, {layer: exact(d, layer)}, SETS, ["transport", "identity"])
        ids, lengths = torch.tensor(text(1)[0].token_ids, dtype=torch.long)[None], torch.tensor([LENGTH])
        residual = model.residuals(ids, lengths, [layer])[layer]
        clean = model.hidden_from(layer, residual, ids, lengths)
        for _, _, edited in plan.edits({layer: residual[0]}, torch.ones(LENGTH, dtype=torch.bool)):
            assert torch.equal(model.hidden_from(layer, edited[None], ids, lengths), clean)
        for found in causal_losses(model, [plan], text()).edits[0].values():
            np.testing.assert_allclose(found.log_ppl_edited_onwards, found.clean_edited_onwards, rtol=1e-6)
            assert (found.kl < 2e-6).all()


def test_an_operator_that_is_the_block_itself_costs_nothing(tmp_path):
    model = load_model(save_tiny_model(tmp_path), device="cpu", dtype="float32")
    d = model.d_model
    rng = np.random.default_rng(0)
    steps = [0.05 * rng.normal(size=(d, d)) for _ in range(model.n_layers)]
    plant_linear_blocks(model.blocks, steps)
    across = (np.eye(d) + steps[2]) @ (np.eye(d) + steps[1])
    plan = ResidualEdits(2, {0: exact(d, 0, across)}, SETS, ["transport", "zero"])
    found = causal_losses(model, [plan], text())
    for edit, losses in found.edits[0].items():
        rise = losses.log_ppl_edited_onwards - losses.clean_edited_onwards
        if edit.name == "transport":
            np.testing.assert_allclose(rise, 0, atol=1e-5)
            assert (losses.kl < 1e-5).all()
        else:
            assert (losses.kl > 1e-3).all()


def test_transport_through_blocks_that_add_nothing_changes_nothing(tmp_path):
    model = load_model(save_identity_model(tmp_path), device="cpu", dtype="float32")
    plan = ResidualEdits(2, {0: exact(model.d_model, 0), 1: exact(model.d_model, 1)}, SETS, ["transport", "identity"])
    found = causal_losses(model, [plan], text())
    for losses in found.edits[0].values():
        np.testing.assert_allclose(losses.log_ppl, found.log_ppl, rtol=1e-6)


def test_no_edited_position_is_the_unedited_model(llama):
    only_first = ExclusionPolicy(skip_special=True, skip_first=True)
    sequences = text(2, length=2)
    plan = ResidualEdits(1, {0: operator(llama.d_model)}, [SETS[-1]], ["zero"])
    found = causal_losses(llama, [plan], sequences, policy=only_first)  # position 1 is the last: nothing follows it
    losses = found.edits[0][Intervention("zero", "all")]
    assert losses.n_edited.tolist() == [1, 1]
    np.testing.assert_array_equal(losses.log_ppl, found.log_ppl)
    assert np.isnan(losses.kl).all()
    nothing = causal_losses(llama, [plan], text(2), median_norm={1: 1e-9})
    losses = nothing.edits[0][Intervention("zero", "all")]
    assert losses.n_edited.tolist() == [0, 0]
    np.testing.assert_array_equal(losses.log_ppl, nothing.log_ppl)


def test_all_leaves_alone_what_the_collection_leaves_out(llama):
    sequences = text(1)
    sequences[0].token_ids[5] = next(iter(llama.special_token_ids))
    plan = ResidualEdits(1, {0: operator(llama.d_model)}, [SETS[-1]], ["zero"])

    def n_edited(**options) -> int:
        return int(causal_losses(llama, [plan], sequences, **options).edits[0][Intervention("zero", "all")].n_edited[0])

    assert n_edited() == LENGTH - 2
    assert n_edited(policy=ExclusionPolicy(skip_special=False, skip_first=False)) == LENGTH
    assert n_edited(median_norm={1: 1e9}) == LENGTH - 2
    assert n_edited(median_norm={1: 1e-9}, policy=ExclusionPolicy(max_norm_multiple=None)) == LENGTH - 2


def test_an_edit_changes_no_logit_before_it(model):
    ids, lengths = torch.tensor(text(1)[0].token_ids, dtype=torch.long)[None], torch.tensor([LENGTH])
    residual = model.residuals(ids, lengths, [1])[1]
    others = ["transport", "bias", "mean", "zero", "random_rotation"]
    plan = ResidualEdits(1, {1: operator(model.d_model)}, [PositionSet.parse("9")], others)
    clean = model.token_losses(ids, lengths)[0]
    for _, _, edited in plan.edits({1: residual[0]}, torch.ones(LENGTH, dtype=torch.bool)):
        losses = model.losses_from(1, edited[None], ids, lengths)[0]
        torch.testing.assert_close(losses[:9], clean[:9], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(losses[9:], clean[9:])


def test_the_bias_is_the_operator_on_a_null_input_whatever_the_source(llama):
    d = llama.d_model
    a, b = operator(d), operator(d)
    other = TransportOperator(5 * a.matrix, a.bias, "ridge", 1, 2, y_mean=a.y_mean)
    plan = ResidualEdits(2, {0: b, 1: other}, SETS, ["bias"])
    found = causal_losses(llama, [plan], text()).edits[0]
    for positions in SETS:
        one, two = (found[Intervention("bias", positions.name, source)] for source in (0, 1))
        np.testing.assert_allclose(one.log_ppl, two.log_ppl, rtol=1e-6)


def test_sequences_of_other_lengths_are_left_out_and_their_lack_is_an_error():
    mixed = [*text(2), *text(1, length=LENGTH - 1)]
    assert len(full_length_sequences(mixed, LENGTH, SETS)) == 2
    assert len(full_length_sequences(mixed, LENGTH - 1, SETS)) == 1
    with pytest.raises(DataError, match="full length of 30"):
        full_length_sequences(mixed, 30, SETS)
    last = PositionSet.parse(f"2,{LENGTH - 2}")
    assert len(full_length_sequences(mixed, LENGTH, [last])) == 2
    with pytest.raises(DataError, match=f"position {LENGTH - 1}.*causal.positions"):
        full_length_sequences(mixed, LENGTH, [last, PositionSet.parse(str(LENGTH - 1))])


def test_mixed_lengths_no_sequences_and_infinite_residuals_are_refused(llama):
    d = llama.d_model
    plan = ResidualEdits(2, {0: operator(d)}, SETS, ["transport"])
    for sequences in ([], [*text(1), *text(1, length=9)]):
        with pytest.raises(InputError, match="equal length"):
            causal_losses(llama, [plan], sequences)
    broken = TransportOperator(np.full((d, d), np.inf), np.zeros(d), "ridge")
    with pytest.raises(NonFiniteError, match=r"model\.dtype"):
        causal_losses(llama, [ResidualEdits(2, {0: broken}, SETS, ["transport"])], text(1))


def test_the_callback_counts_sequences(llama):
    seen: list[int] = []
    plan = ResidualEdits(2, {0: operator(llama.d_model)}, SETS, ["zero"])
    causal_losses(llama, [plan], text(5), batch_size=2, on_sequence=lambda: seen.append(1))
    assert len(seen) == 5


def test_a_set_of_positions_named_twice_is_one_intervention(llama):
    twice = ResidualEdits(2, {0: operator(llama.d_model)}, [SETS[1], SETS[1]], ["zero"])
    once = ResidualEdits(2, {0: operator(llama.d_model)}, [SETS[1]], ["zero"])
    (found,), (expected,) = (causal_losses(llama, [plan], text()).edits[0].values() for plan in (twice, once))
    for values, same in zip(vars(found).values(), vars(expected).values(), strict=True):
        np.testing.assert_allclose(values, same, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("llama", "gpt2", "gemma2")])
def test_every_family_gives_the_numbers_of_whole_passes(family, tmp_path):
    model = load_model(save_tiny_model(tmp_path, family), device="cpu", dtype="float32")
    test_every_number_is_that_of_one_edit_and_one_sequence_at_a_time(model)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_edits_at_the_first_and_the_last_position_equal_whole_passes(llama, batch_size):
    sets = [PositionSet.parse(p) for p in ("0", "0,18", "5,7,18", "5", "5,7", "18", "19", "all")]
    plan, (sequence,) = ResidualEdits(1, {0: operator(llama.d_model)}, sets, ["transport", "zero"]), text(1)
    found = causal_losses(llama, [plan], [sequence], batch_size=batch_size).edits[0]
    ids, lengths = torch.tensor(sequence.token_ids, dtype=torch.long)[None], torch.tensor([LENGTH])
    residuals = {k: x[0] for k, x in llama.residuals(ids, lengths, [0, 1]).items()}
    for edit, mask, edited in plan.edits(residuals, torch.arange(LENGTH) > 0):
        losses = llama.token_losses(ids, lengths, lambda _, x=edited: x[None], 1)[0].double().numpy()
        assert found[edit].log_ppl[0] == pytest.approx(losses.mean(), rel=1e-5)
        if mask[:-1].any():
            first = int(mask.nonzero()[0])
            assert found[edit].log_ppl_edited_onwards[0] == pytest.approx(losses[first:].mean(), rel=1e-5)


def test_only_tokens_that_an_edit_can_change_are_run(llama):
    sets = [PositionSet.parse(p) for p in ("4,9,14", "4", "18")]
    plan, ran = ResidualEdits(2, {0: operator(llama.d_model)}, sets, ["zero"]), []
    hook = llama.blocks[3].register_forward_hook(lambda block, args, output: ran.append(args[0].shape[:2].numel()))
    try:
        causal_losses(llama, [plan], text(1))
    finally:
        hook.remove()
    # The unedited sequence; from 4 to 18; the same replacement at 4 alone, from 9 on; the last prediction. One pass may
    # hold several of them, padded.
    whole, *edits = ran
    assert whole == LENGTH
    assert 15 + 10 + 1 <= sum(edits) <= 15 * 2 + 10
