"""Quality of features: their components, the logit lens and ablation, against the straightforward implementation.

Straightforward: the activations of all tokens in one dense matrix, NumPy's correlations of all of it, and loops over
features; for ablation the whole model, hooked, once clean and once edited for every feature and sequence. Results must
agree. Memory is that of a fresh process that takes ten times the tokens.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ato.causal.ablation import ablation_effects
from ato.features.logit_lens import LogitLens, logit_lens
from ato.features.quality import FeatureQuality, QualityComponents
from ato.models import LanguageModel, load_model
from ato.models.forward import stream_of
from ato.residuals import Layer, ResidualBlock, run_pass
from ato.saes import SharedEncoding, SparseAutoencoder
from ato.text import TokenSequence
from benchmarks.measurement import Measurement, growth, rate, speedup
from benchmarks.program import run
from benchmarks.rows import residual_like_rows
from benchmarks.shaped_model import SMALL, shaped_model
from benchmarks.timing import peak_memory, seconds, side_by_side

MODEL, BLOCK_ROWS, DOCUMENT_ROWS, TOP, VOCABULARY = "smollm2-135m", 4096, 128, 100, 49_152
WINDOW, ABLATED_IN = 32, 2
"""Tokens of a text that features are ablated in, and texts for each."""


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures at the width of the embedded model."""
    n, d, width, k = (4_000, 64, 200, 8) if quick else (20_000, 576, 2048, 32)
    yield from components(n, d, width, k, rounds=1 if quick else 3)
    yield from lens(d, 64 if quick else 256, 2_000 if quick else VOCABULARY)
    yield from ablation(quick)
    few, many = peak_memory("benchmarks.features:accumulate", (0.6 * n, d, width, k), (6 * n, d, width, k))
    yield growth(
        f"peak memory of components, {6 * n:,} tokens", "MiB", many, f"{int(0.6 * n):,} tokens", few, at_most=1.1
    )


class Stream:
    """A residual source that makes every block when it is asked for, from rows drawn once."""

    layers, n_folds = (0,), 5

    def __init__(self, rows: np.ndarray, n: int):
        self.d_model, self._rows, self._n = rows.shape[1], rows, n

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """Blocks of ``BLOCK_ROWS`` tokens, in documents of ``DOCUMENT_ROWS``."""
        for start in range(0, self._n, BLOCK_ROWS):
            token = np.arange(start, min(start + BLOCK_ROWS, self._n))
            document, position = np.divmod(token, DOCUMENT_ROWS)
            yield ResidualBlock(
                {0: torch.from_numpy(self._rows[token % len(self._rows)])},
                document,
                position.astype(np.int32),
                (token * 7919 % 997).astype(np.int32),
                document,
                np.zeros(len(token), dtype=np.int16),
            )


def random_sae(rows: np.ndarray, width: int, k: int) -> SparseAutoencoder:
    """A TopK SAE of random directions about the mean of some rows."""
    drawn = torch.randn(width, rows.shape[1], generator=torch.Generator().manual_seed(0))
    directions = torch.nn.functional.normalize(drawn)
    mean = torch.from_numpy(rows.mean(0))
    return SparseAutoencoder("topk", directions.T.contiguous(), torch.zeros(width), directions, mean, k=k)


def accumulate(n: float | str, d: int | str, width: int | str, k: int | str) -> QualityComponents:
    """Components of a stream of n tokens; in a process of its own its memory is measured."""
    rows = residual_like_rows(2 * BLOCK_ROWS, int(d))[1]
    return streamed(random_sae(rows, int(width), int(k)), Stream(rows, int(float(n))))


def streamed(sae: SparseAutoencoder, source: Stream) -> QualityComponents:
    """Our components, block by block."""
    quality = FeatureQuality(sae, 0, TOP)
    run_pass(source, [SharedEncoding(sae, 0, [quality])])
    return quality.result()


def components(n: int, d: int, width: int, k: int, rounds: int) -> Iterator[Measurement]:
    """One pass for statistics, token entropy and redundancy, the encoding in both."""
    rows = residual_like_rows(n, d)[1]
    sae, source = random_sae(rows, width, k), Stream(rows, n)
    found, expected = streamed(sae, source), dense_components(sae, source)
    for name, values in expected.items():
        same(name, getattr(found, name), values)
    ours, plain = side_by_side(lambda: streamed(sae, source), lambda: dense_components(sae, source), rounds=rounds)
    what = f"components of {width:,} features, {n:,} tokens, d = {d}"
    yield speedup(what, ours, "dense activations and a loop", plain)
    encoding, _ = seconds(lambda: [sae.active(block.residuals[0]) for block in source.blocks()])
    yield rate(what, "tokens/s", n / ours, "encoding them alone", n / encoding)


def dense_components(sae: SparseAutoencoder, source: Stream) -> dict[str, np.ndarray]:
    """The components from all activations at once, feature by feature."""
    blocks = list(source.blocks())
    acts = torch.cat([sae.encode(block.residuals[0]) for block in blocks]).numpy()
    token_id, document = (np.concatenate([getattr(b, name) for b in blocks]) for name in ("token_id", "document"))
    names = ("n_active", "mean_activation", "max_activation", "token_entropy", "deadness", "redundancy")
    columns = {name: np.full(sae.d_sae, np.nan) for name in names}
    for feature in range(sae.d_sae):
        active = np.flatnonzero(acts[:, feature] > 0)
        values = acts[active, feature]
        columns["n_active"][feature] = len(active)
        columns["deadness"][feature] = 1 - len(np.unique(document[active])) / len(np.unique(document))
        if len(active):
            columns["mean_activation"][feature] = values.astype(np.float64).mean()
            columns["max_activation"][feature] = values.max()
            top = active[np.argsort(-values, kind="stable")[:TOP]]
            share = np.unique(token_id[top], return_counts=True)[1] / len(top)
            columns["token_entropy"][feature] = -(share * np.log(share)).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.abs(np.corrcoef(acts.T))
    np.fill_diagonal(correlation, np.nan)
    known = np.isfinite(correlation).any(1)
    columns["redundancy"][known] = np.nanmax(correlation[known], axis=1)
    return columns


def lens(d: int, features: int, vocabulary: int) -> Iterator[Measurement]:
    """The logit lens of some features."""
    generator = torch.Generator().manual_seed(0)
    directions, head = torch.randn(features, d, generator=generator), torch.randn(vocabulary, d, generator=generator)

    def looped() -> dict[str, np.ndarray]:
        rows = []
        for direction in directions:
            logits = (head @ direction).numpy().astype(np.float64)
            p = np.exp(logits - logits.max())
            p /= p.sum()
            order = np.argsort(logits)
            z, entropy = (logits.max() - logits.mean()) / logits.std(), -(p * np.log(p + 1e-300)).sum()
            rows.append((z, entropy, logits[order[-10:][::-1]]))
        return dict(zip(("focus_z", "focus_entropy", "top_logits"), map(np.array, zip(*rows))))

    ours, found = seconds(lambda: logit_lens(directions, head))
    plain, expected = seconds(looped)
    for name in expected:
        same(f"{name} of the logit lens", getattr(found, name), expected[name])
    assert isinstance(found, LogitLens)
    yield speedup(f"logit lens of {features} features, vocabulary {vocabulary:,}", ours, "feature by feature", plain)


def ablation(quick: bool) -> Iterator[Measurement]:
    """Ablation effects of the most active features of a random SAE at mid depth, in float32."""
    model = shaped_model(SMALL, dtype="float32") if quick else load_model(MODEL, dtype="float32")
    layer, rng = model.n_layers // 2, np.random.default_rng(0)
    usable = np.setdiff1d(np.arange(3, 259), sorted(model.special_token_ids))
    text = [
        TokenSequence(i, str(i), i, "val", None, 0, rng.choice(usable, WINDOW).astype(np.int32), "") for i in range(8)
    ]
    ids = torch.from_numpy(np.stack([s.token_ids for s in text])).long().to(model.device)
    stream = model.residuals(ids, np.full(len(ids), WINDOW), [layer])[layer][:, 1:].flatten(0, 1)
    sae = random_sae(stream.cpu().numpy(), 128, 8).to(model.device)
    n_active = np.bincount(sae.active(stream).feature.cpu().numpy(), minlength=sae.d_sae)
    candidates = np.argsort(-n_active, kind="stable")[: 8 if quick else 24]

    def ours() -> np.ndarray:
        return ablation_effects(
            model, {"sae": (layer, sae, candidates)}, text, n_sequences=ABLATED_IN, n_tokens=WINDOW
        )["sae"].effect.value

    ours()
    taken, found = seconds(ours)
    plain, expected = seconds(lambda: np.array([hooked_effect(model, layer, sae, int(f), ids) for f in candidates]))
    same("ablation effect", found, expected, 1e-4)
    what = f"ablation of {len(candidates)} features in {ABLATED_IN} texts each, layer {layer} of {model.n_layers}"
    yield speedup(f"{what}, float32", taken, "the whole model per feature and text", plain)


def hooked_effect(model: LanguageModel, layer: int, sae: SparseAutoencoder, feature: int, ids: torch.Tensor) -> float:
    """Mean rise of the loss, over the texts [b, t] where the feature is most active, one whole pass at a time."""
    rises: list[tuple[float, torch.Tensor]] = []
    for row in ids:
        streams: list[torch.Tensor] = []
        clean = hooked_losses(model, layer, row, streams.append)
        acts = sae.encode(streams[0])[:, feature]
        acts[0] = acts[-1] = 0
        if acts.max() > 0:
            edited = streams[0] - acts[:, None] * sae.W_dec[feature]
            first = int(acts.nonzero()[0])
            rise = hooked_losses(model, layer, row, partial(replaced_by, edited)) - clean
            rises.append((float(acts.max()), rise[first:]))
    rises.sort(key=lambda rise: -rise[0])
    return float(torch.cat([rise for _, rise in rises[:ABLATED_IN]]).double().mean())


def replaced_by(edited: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """The edited residual, whatever the residual is."""
    return edited


def hooked_losses(model: LanguageModel, layer: int, row: torch.Tensor, replace: Any) -> torch.Tensor:
    """Losses [t-1] of one text; ``replace`` is given the residual [t, d] and may return another."""

    def hook(block: Any, args: Any, output: Any) -> Any:
        changed = replace(stream_of(output)[0])
        if changed is None:
            return None
        return (changed[None], *output[1:]) if isinstance(output, tuple) else changed[None]

    handle = model.blocks[layer].register_forward_hook(hook)
    with torch.no_grad():
        logits = model.module(row[None]).logits[0, :-1].float()
    handle.remove()
    return torch.nn.functional.cross_entropy(logits, row[1:], reduction="none")


def same(name: str, found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-3) -> None:
    """Assert that two columns are equal within rounding, missing values included."""
    scale = max(float(np.nanmax(np.abs(expected))), 1e-12)
    apart = np.abs(found - expected) / scale
    assert np.array_equal(np.isnan(found), np.isnan(expected)), f"{name} is missing for other features"
    assert np.nanmax(apart) < tolerance, f"{name} differs by {np.nanmax(apart):.1e} of the largest value"


if __name__ == "__main__":
    sys.exit(run("features", measure, __doc__))
