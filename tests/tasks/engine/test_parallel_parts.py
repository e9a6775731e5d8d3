"""How work is split into parts."""

from tasks.engine.parallel_parts import split_by_size, split_evenly


def test_parts_are_even_consecutive_and_never_empty():
    assert split_evenly(0, 3) == []
    for n in range(1, 30):
        for parts in range(1, 12):
            found = split_evenly(n, parts)
            assert [number for part in found for number in part] == list(range(n))
            assert len(found) == min(n, parts)
            assert max(map(len, found)) - min(map(len, found)) <= 1


def test_layers_are_divided_by_what_there_is_to_do():
    assert split_by_size({}, 3) == []
    assert split_by_size({1: 1, 2: 6, 3: 3}, 2) == [[2], [3, 1]]
    assert split_by_size({1: 1, 2: 6, 3: 3}, 9) == [[2], [3], [1]]
