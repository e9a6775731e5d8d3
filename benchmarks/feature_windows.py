"""Evidence for labelling, against encoding alone and against a loop over activations.

The loop is that of published collectors, written plainly: every active position of every feature is counted by stratum in
dictionaries, offered to a heap of the strongest and to a reservoir, and what is kept copies its window. Both take the same
encoded blocks. The second pass, which reads windows, is measured on its own: it encodes the chosen features only.
"""

import heapq
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ato.features.label_evidence import EvidenceTokens
from ato.features.strata import Stratum, document_stratum, position_tenths
from ato.residuals import Layer, ResidualBlock, run_pass
from ato.saes import SharedEncoding, SparseAutoencoder
from ato.saes.autoencoder import ActiveFeatures
from benchmarks.measurement import Measurement, growth, rate, speedup
from benchmarks.program import run
from benchmarks.rows import residual_like_rows
from benchmarks.timing import peak_memory, seconds, side_by_side

BLOCK_ROWS, LENGTH, N_FOLDS, BEFORE, AFTER, KEPT, DRAWN = 4096, 128, 1, 20, 10, 20, 10
TOPICS = [f"topic {i}" for i in range(12)]


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures at the width of the embedded model."""
    n, d, width, l0, chosen = (4_000, 32, 256, 8, 16) if quick else (20_000, 576, 16_384, 32, 500)
    source = Text(residual_like_rows(2 * BLOCK_ROWS, d)[1], n)
    saes = [thresholded_sae(source.rows, width, l0, seed) for seed in range(1 if quick else 3)]
    yield from against_encoding(source, saes, chosen, rounds=1 if quick else 3)
    # As many activations a feature as 1.6 million tokens give 16,384 features.
    many, few = (4_000, 256) if quick else (200_000, 2_048)
    source = Text(residual_like_rows(2 * BLOCK_ROWS, 64)[1], many)
    yield from against_the_loop(source, thresholded_sae(source.rows, few, l0), chosen // 8)
    yield from at_full_size(quick)
    many, few = (10 * n, n) if quick else (40 * n, 4 * n)
    peaks = peak_memory("benchmarks.feature_windows:accumulate", *((tokens, 32, 256, 8) for tokens in (few, many)))
    yield growth(f"peak memory of evidence, {many:,} tokens", "MiB", peaks[1], f"{few:,} tokens", peaks[0], at_most=1.1)


class Text:
    """A residual source that makes every block when it is asked for: sequences of ``LENGTH`` tokens, each a document."""

    layers, n_folds = (0,), N_FOLDS

    def __init__(self, rows: np.ndarray, n: int):
        self.rows, self.n, self.d_model = rows, n, rows.shape[1]

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """Blocks of ``BLOCK_ROWS`` tokens, whose documents take turns in train, val and test."""
        for start in range(0, self.n, BLOCK_ROWS):
            token = np.arange(start, min(start + BLOCK_ROWS, self.n))
            document, position = np.divmod(token, LENGTH)
            yield ResidualBlock(
                {0: torch.from_numpy(self.rows[token * 7919 % len(self.rows)])},
                document,
                position.astype(np.int32),
                (token * 7919 % 997).astype(np.int32),
                document,
                np.array([0, 0, 0, 1, 2], dtype=np.int16)[document % 5],
            )

    @property
    def lengths(self) -> dict[int, int]:
        """Tokens of each sequence."""
        return dict.fromkeys(range(-(-self.n // LENGTH)), LENGTH)

    @property
    def strata(self) -> list[Stratum]:
        """Topics of documents, and tenths of sequences."""
        topics = {document: TOPICS[document % len(TOPICS)] for document in self.lengths}
        return [document_stratum("topic", topics), position_tenths(self.lengths)]


def thresholded_sae(rows: np.ndarray, width: int, l0: int, seed: int = 0) -> SparseAutoencoder:
    """A JumpReLU SAE of random directions, each of which fires on its own share of tokens: l0 together on one."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(width, rows.shape[1], generator=generator))
    mean = torch.from_numpy(rows.mean(0))
    shares = torch.rand(width, generator=generator) ** 8  # few features fire often, most rarely
    shares *= l0 / shares.sum()
    pre = (torch.from_numpy(rows[:BLOCK_ROWS]) - mean) @ directions.T
    ordered = pre.sort(dim=0).values
    place = ((1 - shares.clamp(max=0.5)) * len(pre)).long().clamp(max=len(pre) - 1)
    threshold = ordered.gather(0, place[None])[0].clamp_min(0)
    return SparseAutoencoder("jumprelu", directions.T.contiguous(), torch.zeros(width), directions, mean, threshold)


def first_pass(source: Text, saes: Sequence[SparseAutoencoder], n_chosen: int) -> list[EvidenceTokens]:
    """The first pass: every block is encoded once for each SAE."""
    first = [collector(source, sae, n_chosen) for sae in saes]
    run_pass(source, [SharedEncoding(one.sae, 0, [one]) for one in first])
    return first


def collector(source: Text, sae: SparseAutoencoder, n_chosen: int) -> EvidenceTokens:
    """Evidence of evenly spaced features."""
    features = np.linspace(0, sae.d_sae - 1, n_chosen).astype(np.int64)
    return EvidenceTokens(sae, 0, features, n_folds=N_FOLDS, strata=source.strata)


def accumulate(n: float | str, d: int | str, width: int | str, l0: int | str) -> None:
    """Both passes over n tokens; in a process of its own its memory is measured."""
    source = Text(residual_like_rows(2 * BLOCK_ROWS, int(d))[1], int(float(n)))
    (first,) = first_pass(source, [thresholded_sae(source.rows, int(width), int(l0))], 16)
    second = first.windows(source.lengths)
    run_pass(source, [second])
    second.result()


def against_encoding(
    source: Text, saes: Sequence[SparseAutoencoder], n_chosen: int, rounds: int
) -> Iterator[Measurement]:
    """One pass that collects, and one that only encodes."""

    def encode() -> None:
        for block in source.blocks():
            for sae in saes:
                sae.active(block.residuals[0])

    ours, alone = side_by_side(lambda: first_pass(source, saes, n_chosen), encode, rounds=rounds)
    what = f"evidence of {len(saes)} SAEs of {saes[0].d_sae:,} features, {source.n:,} tokens, d = {source.d_model}"
    yield rate(what, "tokens/s", source.n / ours, "encoding alone", source.n / alone, at_least=0.8)
    first = first_pass(source, saes, n_chosen)

    def windows() -> None:
        second = [one.windows(source.lengths) for one in first]
        run_pass(source, second)
        for one in second:
            one.result()

    taken, _ = seconds(windows)
    yield rate(
        f"windows of {n_chosen:,} features of each", "tokens/s", source.n / taken, "encoding alone", source.n / alone
    )


def against_the_loop(source: Text, sae: SparseAutoencoder, n_chosen: int) -> Iterator[Measurement]:
    """Both over encoded blocks; counts by topic and the strongest activations must agree."""
    encoded = [(block, sae.active(block.residuals[0])) for block in source.blocks()]

    def ours() -> EvidenceTokens:
        collected = collector(source, sae, n_chosen)
        for block, active in encoded:
            collected.update(block, active)
        return collected

    taken, found = seconds(ours)
    plain, (by_topic, heaps) = seconds(lambda: looped(encoded, sae.d_sae))
    counts = found.rates.result()["topic"]
    values = {value: i for i, value in enumerate(counts.values)}
    expected = np.zeros_like(counts.n_active)
    for feature, topics in by_topic.items():
        for topic, count in topics.items():
            expected[feature, values[topic]] = count
    assert np.array_equal(counts.n_active, expected), "counts by topic differ from those of the loop"
    maxima = found.histograms.result().maximum
    assert all(np.float32(max(heap)[0]) == maxima[f] for f, heap in heaps.items()), "the strongest activations differ"
    what = f"{source.n:,} tokens of {sae.d_sae:,} features, encoded before"
    yield speedup(f"evidence of {what}", taken, "a loop over activations", plain, at_least=50)


class SyntheticTopK:
    """Features of which the k active ones of each token are drawn beforehand; a row of x is the number of such a token.

    Args:
        d_sae: number of features.
        k: active on each token.
        n_drawn: tokens that are drawn; texts repeat them.
    """

    weights_hash = "synthetic"

    def __init__(self, d_sae: int, k: int, n_drawn: int):
        rng = np.random.default_rng(0)
        self.d_sae = d_sae
        log_share = -np.log(np.arange(30, d_sae + 30))  # few features fire often, most rarely
        keys = (log_share + rng.gumbel(size=(len(rows), d_sae)) for rows in np.array_split(np.arange(n_drawn), 64))
        chosen = np.concatenate([np.sort(np.argpartition(-key, k, axis=1)[:, :k], axis=1) for key in keys])
        self._feature = torch.from_numpy(chosen)
        self._value = torch.from_numpy(rng.gamma(2.0, 1.0, (n_drawn, k)).astype(np.float32))
        self.decoder_directions = torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((d_sae, 64))))
        self.decoder_norms = torch.ones(d_sae)

    def active(self, x: torch.Tensor) -> ActiveFeatures:
        """The features of the drawn tokens that x [n, 1] names."""
        row = x[:, 0].long()
        feature, value = self._feature[row], self._value[row]
        token = torch.arange(len(x)).repeat_interleave(feature.shape[1])
        return ActiveFeatures(len(x), token, feature.flatten(), value.flatten())


def at_full_size(quick: bool) -> Iterator[Measurement]:
    """Both passes over all tokens; the loop over a share of them, of which the later half counts, since the first fills heaps."""
    n, share, width, k, chosen, drawn = (
        (81_920, 8_192, 256, 8, 16, 1_024) if quick else (10_002_432, 40_960, 16_384, 32, 500, 8_192)
    )
    features = SyntheticTopK(width, k, drawn)
    source = Text(np.arange(drawn, dtype=np.float32)[:, None], n)

    def ours() -> None:
        first = EvidenceTokens(
            features, 0, np.linspace(0, width - 1, chosen).astype(np.int64), n_folds=N_FOLDS, strata=source.strata
        )
        run_pass(source, [SharedEncoding(features, 0, [first])])
        second = first.windows(source.lengths)
        run_pass(source, [second])
        second.result()

    reached: list[float] = []

    def blocks() -> Iterator[tuple[ResidualBlock, ActiveFeatures]]:
        for number, block in enumerate(Text(source.rows, share).blocks()):
            if number * BLOCK_ROWS == share // 2:
                reached.append(time.perf_counter())
            yield block, features.active(block.residuals[0])

    taken, _ = seconds(ours)
    looped(blocks(), width)
    plain = (time.perf_counter() - reached[0]) / (share // 2) * n
    against = f"a loop over activations, {share // 2:,} tokens scaled up"
    what = f"evidence of {n:,} tokens of {width:,} features, {k} active, with windows of {chosen} of them"
    yield speedup(what, taken, against, plain, at_least=50)


def looped(
    encoded: Iterable[tuple[ResidualBlock, ActiveFeatures]], d_sae: int
) -> tuple[dict[int, Counter[str]], dict[int, list[Any]]]:
    """Position by position, as published collectors do it."""
    rng = np.random.default_rng(0)
    n_active, by_topic, by_tenth = Counter(), {}, {}  # type: ignore[var-annotated]
    heaps: dict[int, list[Any]] = {}
    reservoirs: dict[int, list[Any]] = {}
    for block, active in encoded:
        dense = torch.zeros(block.n, d_sae)
        dense[active.token, active.feature] = active.value
        for start in range(0, block.n, LENGTH):
            rows = dense[start : start + LENGTH]
            tokens = block.token_id[start : start + LENGTH]
            document = int(block.document[start])
            topic = TOPICS[document % len(TOPICS)]
            for position, feature in rows.nonzero().tolist():
                value = rows[position, feature].item()
                n_active[feature] += 1
                by_topic.setdefault(feature, Counter())[topic] += 1
                by_tenth.setdefault(feature, Counter())[10 * position // LENGTH] += 1
                heap, reservoir = heaps.setdefault(feature, []), reservoirs.setdefault(feature, [])
                strong = len(heap) < KEPT or value > heap[0][0]
                place = len(reservoir) if len(reservoir) < DRAWN else int(rng.integers(n_active[feature]))
                if not strong and place >= DRAWN:
                    continue
                low, high = max(position - BEFORE, 0), min(position + AFTER + 1, len(rows))
                window = tokens[low:high].tolist(), rows[low:high, feature].tolist()
                entry = (value, document, position, window)
                if strong:
                    (heapq.heappush if len(heap) < KEPT else heapq.heapreplace)(heap, entry)
                if place < DRAWN:
                    reservoir[place : place + 1] = [entry]
    return by_topic, heaps


if __name__ == "__main__":
    sys.exit(run("feature_windows", measure, __doc__))
