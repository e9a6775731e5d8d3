"""Sums about a pilot mean are those of plain products, and move exactly to another one."""

import numpy as np
import pytest
import torch

from ato.moments.sums import MomentSums
from ato.residuals.position_policies import source_key

X, Y = source_key(1, 4, "attended"), 4
PAIRS = ((X, Y), (2, Y))
WIDTHS = {X: 3, 2: 5, Y: 2}


def rows_of(n: int, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return {layer: torch.from_numpy(rng.normal(size=(n, d))) for layer, d in WIDTHS.items()}


def summed(parts: dict, pilot: dict, squares_only=()) -> MomentSums:
    """Of rows before the pilot is subtracted: group -> layer -> [n, d]."""
    sums = MomentSums.empty(PAIRS, squares_only, 2, pilot)
    for group, rows in parts.items():
        for half in (slice(0, 7), slice(7, None)):
            sums.add(group, {layer: x[half] - torch.from_numpy(pilot[layer]) for layer, x in rows.items()})
    return sums


def assert_sums(found: MomentSums, parts: dict, squares_only=()) -> None:
    for group, rows in parts.items():
        centred = {layer: x.numpy() - found.pilot[layer] for layer, x in rows.items()}
        assert found.n[group] == len(centred[Y])
        for layer, x in centred.items():
            gram = (x**2).sum(0) if layer in squares_only else x.T @ x
            np.testing.assert_allclose(found.sums[layer, group], x.sum(0), atol=1e-10)
            np.testing.assert_allclose(found.grams[layer, group], gram, atol=1e-10)
        for source, target in PAIRS:
            np.testing.assert_allclose(
                found.crosses[source, target, group], centred[source].T @ centred[target], atol=1e-10
            )


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("squares_only", [(), (Y,)])
def test_they_are_plain_products_however_they_are_divided_among_cores(threads, squares_only, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    parts = {0: rows_of(20, 0), 1: rows_of(9, 1)}
    sums = summed(parts, {layer: np.zeros(d) for layer, d in WIDTHS.items()}, squares_only)
    assert_sums(sums, parts, squares_only)
    assert sums.epsilon == np.finfo(np.float64).eps


@pytest.mark.parametrize("squares_only", [(), (Y,)])
def test_sums_about_other_means_add_as_if_about_one(squares_only):
    mine, theirs = {0: rows_of(20, 0), 1: rows_of(9, 1)}, {0: rows_of(14, 2)}
    zero = {layer: np.zeros(d) for layer, d in WIDTHS.items()}
    far = {layer: np.arange(1.0, d + 1) for layer, d in WIDTHS.items()}
    both = {0: {layer: torch.cat([mine[0][layer], theirs[0][layer]]) for layer in WIDTHS}, 1: mine[1]}
    a, b = summed(mine, zero, squares_only), summed(theirs, far, squares_only)
    for total, pilot in ((a + b, zero), (b + a, far)):
        assert all(np.array_equal(total.pilot[layer], pilot[layer]) for layer in WIDTHS)
        assert_sums(total, both, squares_only)
    assert_sums(a, mine, squares_only)  # adding leaves both as they were
    assert_sums(b, theirs, squares_only)


def test_the_rounding_of_the_coarsest_product_is_kept():
    sums = MomentSums.empty(PAIRS, (), 1, {})
    sums.add(0, {layer: x.float() for layer, x in rows_of(4, 0).items()})
    sums.add(0, rows_of(4, 0))
    assert sums.epsilon == np.finfo(np.float32).eps
    assert (MomentSums.empty(PAIRS, (), 1, {}) + sums).epsilon == np.finfo(np.float32).eps
    assert all(x.dtype == torch.float64 for x in (*sums.sums.values(), *sums.grams.values(), *sums.crosses.values()))
