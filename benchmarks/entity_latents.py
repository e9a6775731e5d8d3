"""Latent scores of entities in one pass, against a loop per layer, type and latent over dense activations.

The loop does what the study "Do I Know This Entity?" does for each latent: select both classes, count, average, Welch's t.
Both start from encoded residuals, and the results must agree. Memory is that of a fresh process with four times the
entities.
"""

import sys
from collections.abc import Iterator

import numpy as np
import torch

from ato.entities.groups import EntityGroups
from ato.entities.latent_scores import LatentScores
from ato.entities.nulls import Permutations
from ato.numerics.auroc import auroc_interval
from ato.saes import ActiveFeatures
from benchmarks.measurement import Measurement, growth, plain, speedup
from benchmarks.program import run
from benchmarks.timing import peak_memory, seconds

N_TYPES, ACTIVE, BLOCK = 4, 64, 256
"""Entity types, active latents an entity, and entities that are encoded at a time."""


def latent_scores_benchmark(quick: bool) -> Iterator[Measurement]:
    """Figures at the size of the study: 16,384 latents, 2,000 entities, 30 layers."""
    n, d_sae, layers, looped = (300, 512, 3, 16) if quick else (2_000, 16_384, 30, 200)
    size = f"{layers} layers x {d_sae:,} latents x {n:,} entities"
    groups = make_groups(n)
    blocks = list(make_blocks(n, d_sae))
    ours, found = seconds(lambda: [one_pass(groups, blocks, d_sae).scores() for _ in range(layers)][-1])
    dense = dense_of(blocks, d_sae)
    taken, expected = seconds(lambda: loop(dense, groups, looped))
    for name, column in expected.items():
        same(name, getattr(found, name)[:, :looped], column)
    yield speedup(
        f"scores of {size}, encoded already",
        ours,
        f"a loop ({looped} latents of one layer, scaled)",
        taken / looped * d_sae * layers,
        at_least=20,
    )
    permutations = Permutations(100 if quick else 1000)
    permuted, _ = seconds(lambda: one_pass(groups, blocks, d_sae, permutations).null_maxima())
    yield plain(f"maximum statistic of one layer, {permutations.n} permutations of the labels", "s", permuted)
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=n)
    taken, _ = seconds(lambda: auroc_interval(np.maximum(rng.standard_normal(n) + labels, 0), labels))
    yield plain(f"AUROC with its interval, {n:,} entities", "s", taken)
    few, many = peak_memory("benchmarks.entity_latents:accumulate", (n, d_sae), (4 * n, d_sae))
    yield growth(f"peak memory of scores, {4 * n:,} entities", "MiB", many, f"{n:,} entities", few, at_most=1.1)


def make_groups(n: int) -> EntityGroups:
    """Entities of random types, classes and splits."""
    rng = np.random.default_rng(0)
    split = rng.choice(3, p=[0.5, 0.1, 0.4], size=n)
    names = tuple(f"type {number}" for number in range(N_TYPES))
    return EntityGroups(
        rng.integers(N_TYPES, size=n), rng.integers(2, size=n), split, np.arange(n, dtype=np.uint64), names
    )


def make_blocks(n: int, d_sae: int) -> Iterator[tuple[np.ndarray, ActiveFeatures]]:
    """Encodings of entities, block by block: few latents fire often and most seldom, as in trained SAEs."""
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        rng = np.random.default_rng(start)
        token, feature = np.nonzero(rng.random((len(rows), d_sae)) < ACTIVE / d_sae * rates(d_sae))
        value = torch.from_numpy(rng.exponential(size=len(token)).astype(np.float32))
        yield rows, ActiveFeatures(len(rows), torch.from_numpy(token), torch.from_numpy(feature), value)


def rates(d_sae: int) -> np.ndarray:
    """[d_sae] relative rates of firing of mean 1."""
    drawn = np.random.default_rng(1).lognormal(sigma=1.5, size=d_sae)
    return drawn / drawn.mean()


def one_pass(
    groups: EntityGroups,
    blocks: list[tuple[np.ndarray, ActiveFeatures]],
    d_sae: int,
    permutations: Permutations | None = None,
) -> LatentScores:
    """One layer's sums."""
    scores = LatentScores(d_sae, groups, permutations)
    for rows, active in blocks:
        scores.update(rows, active)
    return scores


def accumulate(n: float | str, d_sae: int | str) -> None:
    """One layer's sums with permutations, from blocks that are made as they are asked for."""
    groups, width = make_groups(int(n)), int(d_sae)
    scores = LatentScores(width, groups, Permutations(200))
    for rows, active in make_blocks(groups.n, width):
        scores.update(rows, active)
    scores.null_maxima()


def dense_of(blocks: list[tuple[np.ndarray, ActiveFeatures]], d_sae: int) -> torch.Tensor:
    """[n, d_sae] activations, as the loop reads them."""
    dense = torch.zeros(sum(active.n for _, active in blocks), d_sae)
    for rows, active in blocks:
        dense[torch.from_numpy(rows)[active.token], active.feature] = active.value
    return dense


def loop(dense: torch.Tensor, groups: EntityGroups, looped: int) -> dict[str, np.ndarray]:
    """Scores [types, looped] of the first latents, one latent at a time."""
    names = ("f_first", "f_second", "separation", "mean_difference", "welch_t")
    found = {name: np.zeros((N_TYPES, looped)) for name in names}
    train = groups.members("train")
    for number in range(N_TYPES):
        inside = train & (groups.entity_type == number)
        acts, labels = dense[torch.from_numpy(inside)], torch.from_numpy(groups.label[inside])
        for latent in range(looped):
            first, second = acts[labels == 1, latent], acts[labels == 0, latent]
            f_first, f_second = ((part > 0).float().mean().item() for part in (first, second))
            difference = (first.mean() - second.mean()).item()
            error = (first.var() / len(first) + second.var() / len(second)).sqrt().item()
            values = f_first, f_second, f_first - f_second, difference, difference / error if error else np.nan
            for name, value in zip(names, values, strict=True):
                found[name][number, latent] = value
    return found


def same(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    """Assert that two columns are equal within float32, missing values included."""
    assert np.array_equal(np.isnan(found), np.isnan(expected)), f"{name} is missing for other latents"
    apart = np.nanmax(np.abs(found - expected)) / max(np.nanmax(np.abs(expected)), 1e-12)
    assert apart < 1e-4, f"{name} differs by {apart:.1e} of the largest value"


if __name__ == "__main__":
    sys.exit(run("entity_latents", latent_scores_benchmark, __doc__))
