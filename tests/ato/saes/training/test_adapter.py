"""Transcoder adapters on a tiny Llama and a copy with other MLPs and norms."""

import numpy as np
import pytest
import torch

from ato.errors import MismatchError, SettingsError
from ato.models import load_model, pad
from ato.saes.adapter import AdapterLayer, adapted, new_adapter
from ato.saes.adapter_files import adapter_shape, load_adapter, save_adapter
from ato.saes.adapter_quality import judge_adapter
from ato.saes.training.adapter import AdapterPlan, train_adapter
from tests.tiny_models import save_tiny_model
from tests.tiny_models import sequences_of as sequences

PLAN = AdapterPlan(n_features=24, l1=1e-3, lr=1e-2, batch_size=8, epochs=12)
LENGTHS = [12, 9, 14, 10, 7, 12, 11, 6] * 8


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("base"), n_layers=3)
    base, tuned = (load_model(folder, device="cpu", dtype="float32") for _ in range(2))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in tuned.module.named_parameters():
            if (
                "mlp.down_proj" in name
            ):  # along one direction, by one number of the hidden layer: few features can do it
                u, v = (torch.randn(n, generator=generator) for n in weight.shape)
                weight += 0.5 * weight.norm() * torch.outer(u / u.norm(), v / v.norm())
            if "input_layernorm" in name:
                weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return tuned, base


@pytest.fixture(scope="module")
def trained(models):
    return train_adapter(*models, sequences(LENGTHS), PLAN)


def logits_of(model, ids, lengths=None):
    with torch.no_grad():
        return model.module(ids).logits


def test_at_the_start_it_is_the_fine_tuned_model_with_the_base_models_mlps(models):
    tuned, base = models
    ids = torch.tensor(sequences([15])[0].token_ids, dtype=torch.long)[None]
    plain = logits_of(tuned, ids)
    with adapted(tuned.parts, new_adapter([0, 2], 32, 8), base.parts):
        found = logits_of(tuned, ids)
    kept = {layer: tuned.blocks[layer].mlp for layer in (0, 2)}
    for layer in kept:
        tuned.blocks[layer].mlp = base.blocks[layer].mlp
    expected = logits_of(tuned, ids)
    for layer, mlp in kept.items():
        tuned.blocks[layer].mlp = mlp
    assert torch.equal(found, expected)
    assert not torch.allclose(found, plain)
    assert torch.equal(logits_of(tuned, ids), plain)  # nothing is left behind


def test_training_brings_it_nearer_to_the_fine_tuned_model_and_changes_no_weight_of_the_models(models, trained):
    tuned, base = models
    before = [weight.clone() for model in models for weight in model.module.parameters()]
    again = train_adapter(*models, sequences(LENGTHS), PLAN)
    for one, other in zip(trained.adapter.parameters, again.adapter.parameters):
        assert torch.equal(one, other)
    after = [weight for model in models for weight in model.module.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after))
    assert all(weight.grad is None and not weight.requires_grad for weight in after)
    held_out = sequences([13, 8, 12, 10, 9, 11, 12, 9], seed=5)
    judged = judge_adapter(tuned, base, trained.adapter, held_out)
    assert float(judged.kl["adapted"]) < 0.6 * float(judged.kl["base MLPs"])
    assert float(judged.kl["adapted"]) < float(judged.kl["permuted"])
    assert judged.kl["adapted"].high < judged.kl["base MLPs"].value
    assert float(judged.kl["fine-tuned"]) == 0
    assert float(judged.agreement["fine-tuned"]) == 1
    assert set(judged.l0) == {0, 1, 2}
    assert trained.log[-1]["kl"] < trained.log[0]["kl"]
    assert {"kl", "l1", "nmse", "bridge", "loss"} <= set(trained.log[0])
    parts = trained.log[0]
    whole = parts["kl"] + PLAN.l1 * parts["l1"] + parts["nmse"] + 2 * parts["bridge"]
    assert parts["loss"] == pytest.approx(whole)


def test_a_larger_l1_weight_leaves_fewer_or_smaller_features(models):
    logs = [
        train_adapter(*models, sequences(LENGTHS), AdapterPlan(24, lr=1e-2, batch_size=8, epochs=4, l1=l1)).log
        for l1 in (0, 0.3)
    ]
    assert logs[1][-1]["l1"] < 0.5 * logs[0][-1]["l1"]


def test_padding_changes_no_loss(models):
    tuned, base = models
    short = sequences([6])
    one = AdapterPlan(n_features=8, lambda_bridge=0, epochs=1)
    alone = train_adapter(tuned, base, short, one).log[0]
    from ato.saes.training.adapter import _Step, _trainable

    adapter = _trainable(new_adapter(range(3), 32, 8), tuned)
    ids, lengths = pad([short[0].token_ids, sequences([6, 14])[1].token_ids])
    padded = _Step(tuned, base, adapter, ids[:1], lengths[:1]).descend(one, np.random.default_rng(0))
    for name in ("kl", "nmse", "l0"):
        assert padded[name] == pytest.approx(alone[name], rel=1e-4)


def test_judging_gives_the_same_whatever_the_batches_and_counts_features_by_hand(models, trained):
    tuned, base = models
    held_out = sequences([13, 8, 12, 10, 9, 11, 12, 9], seed=5)
    found, other = (judge_adapter(tuned, base, trained.adapter, held_out, batch_size=b) for b in (1, 8))
    for name, estimate in found.kl.items():
        assert float(estimate) == pytest.approx(float(other.kl[name]), rel=1e-3, abs=1e-7)
    assert found.l0 == pytest.approx(other.l0)
    n_active, n, seen = np.zeros(3), 0, [torch.zeros(24).bool() for _ in range(3)]

    def count(layer, features):
        n_active[layer] += int((features > 0).sum())
        seen[layer] |= (features > 0).flatten(0, 1).any(0)

    for sequence in held_out:
        ids = torch.tensor(sequence.token_ids, dtype=torch.long)[None]
        with adapted(tuned.parts, trained.adapter, base.parts, on_features=count):
            logits_of(tuned, ids)
        n += ids.shape[1]
    assert list(found.l0.values()) == pytest.approx(list(n_active / n))
    assert found.dead_share == pytest.approx(1 - float(torch.cat(seen).float().mean()))


def test_a_checkpoint_loads_as_the_model_with_base_mlps_and_as_the_adapter(models, trained, tmp_path):
    tuned, base = models
    folder = save_adapter(trained.adapter, tuned, base, tmp_path / "checkpoint")
    backbone, found = load_model(folder, device="cpu", dtype="float32"), load_adapter(folder)
    ids = torch.tensor(sequences([15])[0].token_ids, dtype=torch.long)[None]
    with adapted(tuned.parts, trained.adapter, base.parts):
        expected = logits_of(tuned, ids)
    with adapted(backbone.parts, found):
        torch.testing.assert_close(logits_of(backbone, ids), expected, rtol=1e-5, atol=1e-5)
    with adapted(tuned.parts, trained.adapter.without(), base.parts):
        torch.testing.assert_close(logits_of(backbone, ids), logits_of(tuned, ids), rtol=1e-5, atol=1e-5)
    some = save_adapter(trained.adapter.without([1]), tuned, base, tmp_path / "some")
    assert load_adapter(some).disabled == {1}
    shape = adapter_shape(some)
    assert (shape.n_features, shape.layers, shape.active_layers) == (PLAN.n_features, (0, 1, 2), (0, 2))


def test_a_layer_as_a_transcoder_has_the_same_features_and_adds_the_same(trained):
    one = trained.adapter.layers[1]
    x = torch.randn(7, one.W_enc.shape[1], generator=torch.Generator().manual_seed(0))
    features = one.features(x)
    torch.testing.assert_close(one.transcoder.encode(x), features)
    torch.testing.assert_close(one.transcoder.decode(features, x), one.added(features))
    plain = AdapterLayer(one.W_enc, one.b_enc, one.W_dec)
    torch.testing.assert_close(plain.transcoder.decode(features, x), plain.added(features))


def test_a_stopped_training_goes_on_to_the_same_bits(models, trained, tmp_path):
    class Killed(Exception):
        pass

    def die(row):
        if row["step"] == 19:
            raise Killed

    file = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        train_adapter(*models, sequences(LENGTHS), PLAN, checkpoint=file, checkpoint_every=8, on_step=die)
    found = train_adapter(*models, sequences(LENGTHS), PLAN, checkpoint=file)
    for one, other in zip(found.adapter.parameters, trained.adapter.parameters):
        assert torch.equal(one, other)
    with pytest.raises(SettingsError, match="checkpoint is of another training: n_sequences was 64"):
        train_adapter(*models, sequences(LENGTHS[:4]), PLAN, checkpoint=file)


def test_other_models_are_refused(models, tmp_path):
    tuned, _ = models
    other = load_model(save_tiny_model(tmp_path, n_layers=2), device="cpu", dtype="float32")
    with pytest.raises(MismatchError, match="differ in layers or vocabulary"):
        train_adapter(tuned, other, sequences([9]), PLAN)
    with pytest.raises(MismatchError, match=r"no layers \[7\]"), adapted(tuned.parts, new_adapter([7], 32, 8)):
        pass
