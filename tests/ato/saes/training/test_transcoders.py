"""Training of transcoders: each step is that of dense autograd, and a planted transcoder is recovered."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from ato.errors import NonFiniteError, SettingsError
from ato.residuals import MemorySource, run_pass
from ato.saes.training.choices import PerBatch, PerToken
from ato.saes.training.schedule import Schedule
from ato.saes.training.transcoder_steps import TranscoderTrainer
from ato.saes.training.transcoders import TranscoderPlan, train_transcoders
from ato.saes.transcoder_quality import TranscoderQuality

D_IN, D_OUT, D_SAE, BATCH = 12, 10, 64, 96


class DenseReference:
    """The same transcoder as plain autograd: dense activations, losses as written down, Adam, clipping."""

    def __init__(self, encoder, decoder, k, schedule, skip, per_batch):
        shape = encoder.shape[1], decoder.shape[1]
        starts = [encoder, torch.zeros(D_SAE), decoder, torch.zeros(shape[1])] + ([torch.zeros(shape)] if skip else [])
        self.weights = [start.clone().requires_grad_() for start in starts]
        self.adam = torch.optim.Adam(self.weights, lr=schedule.lr)
        self.k, self.schedule, self.per_batch = k, schedule, per_batch
        self.silent, self.done = torch.zeros(D_SAE), 0

    def step(self, x, y):
        W_enc, b_enc, W_dec, b_dec, *skip = self.weights
        pre = x @ W_enc.T + b_enc
        scaled = pre.detach() * W_dec.detach().norm(dim=1)
        if self.per_batch:
            limit = scaled.flatten().topk(self.k * len(x)).values[-1]
        else:
            limit = scaled.topk(self.k, dim=1).values[:, -1:]
        acts = pre.relu() * (scaled >= limit)
        out = acts @ W_dec + b_dec
        if skip:
            out = out + x @ skip[0]
        loss = (out - y).square().sum(1).mean()
        dead = self.silent > self.schedule.dead_steps
        if dead.any():
            most = x.shape[1] // 2
            kept = torch.zeros_like(scaled).bool()
            if dead.sum() > most:
                largest = scaled.masked_fill(~dead, -torch.inf).topk(most, dim=1).indices
                kept.scatter_(1, largest, True)
            else:
                kept[:, dead] = True
            rebuilt = (pre * kept) @ W_dec
            part = min(float(dead.sum()) / most, 1.0)
            loss = loss + part * (rebuilt - (y - out).detach()).square().sum(1).mean()
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.adam.param_groups[0]["lr"] = self.schedule.lr_after(self.done)
        self.adam.step()
        self.silent = torch.where((acts > 0).any(0), 0.0, self.silent + 1)
        self.done += 1
        return out.detach(), (acts > 0).sum(1)


def pairs(n: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    scale = torch.arange(1, D_IN + 1) ** -0.7
    mix = torch.randn(D_IN, D_OUT, generator=generator)
    made = []
    for _ in range(n):
        x = torch.randn(BATCH, D_IN, generator=generator) * scale + 0.3
        made.append(torch.cat([x, x.relu() @ mix], dim=1))
    return made


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("per_batch", [False, True])
@pytest.mark.parametrize(("k", "dead_after"), [(4, 10**6), (4, 300), (8, 900)])
def test_every_step_is_that_of_dense_autograd(skip, per_batch, k, dead_after):
    schedule = Schedule(40, BATCH, 1e-3, dead_after)
    generator = torch.Generator().manual_seed(0)
    encoder, decoder = (0.1 * normalize(torch.randn(D_SAE, d, generator=generator), dim=1) for d in (D_IN, D_OUT))
    choice = PerBatch(k) if per_batch else PerToken(k)
    ours = TranscoderTrainer(encoder, decoder, choice, schedule, skip=skip)
    theirs = DenseReference(encoder, decoder, k, schedule, skip, per_batch)
    seen = set()
    for rows in pairs(40):
        step = ours.step(rows)
        out, n_active = theirs.step(rows[:, :D_IN], rows[:, D_IN:])
        torch.testing.assert_close(step.sae_out, out, rtol=1e-4, atol=1e-5)
        assert torch.equal(step.n_active.long(), n_active)
        for found, expected in zip(ours._parameters, theirs.weights, strict=True):
            torch.testing.assert_close(found, expected.detach(), rtol=1e-3, atol=2e-5)
        assert torch.equal(ours.dead_neurons, theirs.silent > schedule.dead_steps)
        seen.add(bool(ours.dead_neurons.any()))
    assert seen == ({False} if dead_after == 10**6 else {False, True})  # with the auxiliary loss, and without


D, N, ACTIVE, LAYER = 16, 24, 2, 3
QUICK = {"n_tokens": 60_000, "batch_size": 256, "precision": "float32"}


def planted(skip: bool = False, n: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """Pairs: x a sum of two of 24 directions, y of what these write; and the written directions [24, D]."""
    rng = np.random.default_rng(0)
    reads, writes = (rng.normal(size=(N, D)) for _ in range(2))
    reads, writes = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (reads, writes))
    codes = np.zeros((n, N))
    for _ in range(ACTIVE):
        codes[np.arange(n), rng.integers(N, size=n)] = rng.uniform(1, 2, size=n)
    x, y = codes @ reads + 2, 3 * codes @ writes - 1
    if skip:
        y = y + x @ rng.normal(size=(D, D))
    return np.concatenate([x, y], axis=1), writes


def source_of(rows: np.ndarray) -> MemorySource:
    n = len(rows)
    group = np.where(np.arange(n) % 5 == 4, 6, np.arange(n) % 5).astype(np.int16)
    source = MemorySource({LAYER: torch.tensor(rows, dtype=torch.float32)}, document=np.arange(n) // 100, group=group)
    source.d_in, source.site_in, source.site_out = rows.shape[1] // 2, "mlp_in", "mlp_out"
    return source


def held_out(transcoder, rows):
    quality = TranscoderQuality(transcoder, LAYER)
    run_pass(source_of(rows), [quality], splits=["test"])
    return quality.result()


@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_a_planted_transcoder_is_recovered(architecture):
    rows, writes = planted()
    plan = TranscoderPlan(architecture, d_sae=32, k=ACTIVE, lr=1e-2)
    trained = train_transcoders(source_of(rows), LAYER, [plan], **QUICK)[0]
    found = trained.transcoder
    cosines = writes @ found.decoder_directions.double().numpy().T
    assert cosines.max(1).mean() > 0.9
    quality = held_out(found, rows)
    assert float(quality.fvu) < 0.15
    assert quality.l0 == pytest.approx(ACTIVE, rel=0.1)
    assert quality.n_documents == 60
    assert (found.hook_in.site, found.hook_out.site, found.hook_in.layer) == ("mlp_in", "mlp_out", LAYER)
    torch.testing.assert_close(found.decoder_norms, torch.ones(32))
    if architecture == "topk":
        active = found.active(torch.tensor(rows[:, :D], dtype=torch.float32))
        assert active.token.bincount(minlength=len(rows)).max() <= ACTIVE
        assert all(row["l0"] <= ACTIVE for row in trained.log)


def test_a_skip_connection_takes_what_is_linear_and_helps():
    rows, _ = planted(skip=True)
    plans = [TranscoderPlan(d_sae=32, k=ACTIVE, lr=1e-2, skip=skip) for skip in (False, True)]
    without, with_skip = train_transcoders(source_of(rows), LAYER, plans, **QUICK)
    fvu = [float(held_out(one.transcoder, rows).fvu) for one in (without, with_skip)]
    assert fvu[1] < 0.5 * fvu[0]
    assert with_skip.transcoder.W_skip.norm() > 1
    assert without.transcoder.W_skip is None


def test_quality_is_that_of_the_two_pass_computation():
    rows, _ = planted(skip=True, n=700)
    transcoder = train_transcoders(
        source_of(rows), LAYER, [TranscoderPlan(d_sae=32, k=2, skip=True)], n_tokens=2000, batch_size=200
    )[0]
    transcoder = transcoder.transcoder
    test = rows[np.arange(len(rows)) % 5 == 4]
    x, y = torch.tensor(test[:, :D]).float(), torch.tensor(test[:, D:])
    error = (transcoder.reconstruct(x).double() - y).square().sum()
    result = held_out(transcoder, rows)
    assert float(result.fvu) == pytest.approx(float(error / (y - y.mean(0)).square().sum()), rel=1e-5)
    acts = transcoder.encode(x)
    assert result.l0 == pytest.approx(float((acts > 0).sum(1).float().mean()))
    assert result.dead_share == pytest.approx(1 - float((acts > 0).any(0).float().mean()))


def test_many_in_one_pass_and_a_stopped_training_give_the_bits_of_one_alone(tmp_path):
    rows, _ = planted(n=1500)
    plans = [TranscoderPlan("topk", d_sae=24, k=2), TranscoderPlan("batchtopk", d_sae=32, k=3, skip=True)]
    short = {"n_tokens": 6000, "batch_size": 200, "checkpoint_every": 7, "log_every": 5}
    both = train_transcoders(source_of(rows), LAYER, plans, **short)
    alone = [train_transcoders(source_of(rows), LAYER, [plan], **short)[0] for plan in plans]
    for one, other in zip(both, alone):
        assert one.transcoder.weights_hash == other.transcoder.weights_hash

    class Killed(Exception):
        pass

    def die(number, row):
        if row["step"] == 20:
            raise Killed

    file = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        train_transcoders(source_of(rows), LAYER, plans, **short, checkpoint=file, on_step=die)
    steps = []
    resumed = train_transcoders(
        source_of(rows), LAYER, plans, **short, checkpoint=file, on_step=lambda _, row: steps.append(row["step"])
    )
    assert [one.transcoder.weights_hash for one in resumed] == [one.transcoder.weights_hash for one in both]
    assert min(steps) > 14
    steps.clear()
    train_transcoders(source_of(rows), LAYER, plans, **short, checkpoint=file, on_step=lambda _, row: steps.append(row))
    assert not steps
    changed = [plans[0], replace(plans[1], k=4)]
    with pytest.raises(SettingsError, match=r"of another training: transcoders\[1\]\.k was 3 and is 4"):
        train_transcoders(source_of(rows), LAYER, changed, **short, checkpoint=file)


def test_settings_that_cannot_work_and_diverging_trainings_are_refused_in_one_line():
    with pytest.raises(SettingsError, match="'gated' cannot be trained: use topk or batchtopk"):
        TranscoderPlan("gated")
    with pytest.raises(SettingsError, match="k = 40 is not between 1 and d_sae = 32"):
        TranscoderPlan(d_sae=32, k=40)
    with pytest.raises(SettingsError, match="not resampled"):
        TranscoderPlan(dead_features="resample")
    with pytest.raises(SettingsError, match="not stopped early"):
        TranscoderPlan(held_out_every=10)
    rows, _ = planted(n=500)
    with pytest.raises(NonFiniteError, match=r"diverged at step \d+ \(layer 3, transcoder 0: .*\): set a smaller lr"):
        train_transcoders(
            source_of(rows), LAYER, [TranscoderPlan(d_sae=24, k=2, lr=1e30)], n_tokens=4000, batch_size=100, log_every=1
        )
