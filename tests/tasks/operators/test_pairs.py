"""How the pairs of a study are split into parts."""

from types import SimpleNamespace
from typing import Any

from tasks.operators.pairs import split_by_source


def pairs(layers: list[tuple[int, int]]) -> list[Any]:
    return [SimpleNamespace(layers=both, source_layer=both[0]) for both in layers]


def test_pairs_are_divided_evenly_and_sources_stay_together_where_that_costs_at_most_a_pair():
    grid = [(source, source + leap) for source in range(6) for leap in (1, 2, 3, 4)]
    for layers in (grid, grid[:7], grid + grid[:5]):  # the last: two stages of the same two layers
        for n in range(1, 9):
            shares = [[pair.layers for pair in share] for share in split_by_source(pairs(layers), n)]
            assert [both for share in shares for both in share] == sorted(layers)
            assert 1 <= len(shares) <= n
            assert all(shares)
            assert sum(len(set(share)) for share in shares) == len(set(layers))  # the same two layers are never apart
            if len(set(layers)) == len(layers):
                assert max(map(len, shares)) <= len(layers) / n + 2
    for n in (2, 3, 6):
        assert (
            sum(
                len({source for source, _ in share})
                for share in ([pair.layers for pair in own] for own in split_by_source(pairs(grid), n))
            )
            == 6
        )
    assert [len(share) for share in split_by_source(pairs(grid[:20]), 2)] == [10, 10]
