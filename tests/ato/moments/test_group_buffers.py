"""Every row is handed over once, less the pilot mean, with the rows of its group, however blocks are cut."""

from collections import defaultdict

import numpy as np
import pytest
import torch

from ato.moments import group_buffers
from ato.moments.group_buffers import GroupBuffers

LAYERS = {2: 3, 7: 2}  # layer -> width


class Handed:
    """Copies of what was handed over: group -> parts, each layer -> [m, d]."""

    def __init__(self) -> None:
        self.parts: dict[int, list[dict[int, torch.Tensor]]] = defaultdict(list)

    def __call__(self, group: int, rows: dict[int, torch.Tensor]) -> None:
        self.parts[group].append({layer: x.clone() for layer, x in rows.items()})

    def rows(self, group: int, layer: int) -> np.ndarray:
        return torch.cat([part[layer] for part in self.parts[group]]).double().numpy()


def rows_of(n: int, seed: int = 0) -> tuple[dict[int, torch.Tensor], np.ndarray]:
    rng = np.random.default_rng(seed)
    return {layer: torch.from_numpy(300 + rng.normal(size=(n, d))) for layer, d in LAYERS.items()}, rng.integers(
        4, size=n
    )


def buffers_of(handed: Handed, capacity: int = 50, pilot: dict | None = None, precision: str = "auto") -> GroupBuffers:
    return GroupBuffers(capacity, {} if pilot is None else pilot, precision, handed)


@pytest.mark.parametrize("block_rows", [1, 7, 50, 333, 2000])
def test_each_row_arrives_once_in_order_in_parts_of_the_capacity_at_most(block_rows):
    residuals, codes = rows_of(2000)
    pilot = {layer: np.arange(float(d)) for layer, d in LAYERS.items()}
    handed = Handed()
    buffers = buffers_of(handed, pilot=dict(pilot))
    for start in range(0, 2000, block_rows):
        part = slice(start, start + block_rows)
        buffers.add({layer: x[part] for layer, x in residuals.items()}, {}, codes[part])
    buffers.flush()
    for group in range(4):
        sizes = [len(part[2]) for part in handed.parts[group]]
        assert sizes[:-1] == [50] * (len(sizes) - 1)
        for layer, x in residuals.items():
            np.testing.assert_allclose(handed.rows(group, layer), x.numpy()[codes == group] - pilot[layer], atol=1e-9)


def test_without_a_pilot_the_mean_of_the_first_rows_is_taken_and_rounded_to_float32(monkeypatch):
    monkeypatch.setattr(group_buffers, "PILOT_ROWS", 64)
    residuals, codes = rows_of(200)
    handed, pilot = Handed(), {}
    buffers = buffers_of(handed, pilot=pilot)
    for start in range(0, 200, 10):
        part = slice(start, start + 10)
        buffers.add({layer: x[part] for layer, x in residuals.items()}, {}, codes[part])
        assert bool(pilot) == (start + 10 >= 64)
    buffers.flush()
    for layer, x in residuals.items():
        np.testing.assert_array_equal(pilot[layer], x[:64].numpy().mean(0).astype(np.float32))
        assert sum(len(handed.rows(group, layer)) for group in range(4)) == 200


def test_fewer_rows_than_a_pilot_are_not_lost():
    residuals, codes = rows_of(5)
    handed = Handed()
    buffers = buffers_of(handed)
    buffers.add(residuals, {}, codes)
    assert not handed.parts
    residuals[2].zero_()  # the caller may reuse its memory
    buffers.flush()
    assert sum(len(part[2]) for parts in handed.parts.values() for part in parts) == 5
    assert all(np.abs(handed.rows(group, 2)).max() < 10 for group in handed.parts)
    buffers.flush()
    assert sum(len(part[2]) for parts in handed.parts.values() for part in parts) == 5


def test_rows_are_picked_by_their_numbers_for_each_layer():
    residuals, _ = rows_of(40)
    rng = np.random.default_rng(1)
    rows, codes = {2: rng.integers(40, size=60), 7: rng.integers(40, size=60)}, np.zeros(60, int)
    handed = Handed()
    buffers = buffers_of(handed, pilot={layer: np.zeros(d) for layer, d in LAYERS.items()})
    buffers.add(residuals, rows, codes)
    buffers.flush()
    for layer, x in residuals.items():
        np.testing.assert_array_equal(handed.rows(0, layer), x.numpy()[rows[layer]])


@pytest.mark.parametrize(
    ("precision", "given", "width", "expected"),
    [
        ("auto", torch.float32, 3, torch.float64),  # narrow
        ("auto", torch.float32, 300, torch.float32),
        ("auto", torch.float64, 300, torch.float64),
        ("float32", torch.float64, 3, torch.float32),
        ("float64", torch.float32, 300, torch.float64),
    ],
)
def test_products_get_rows_of_the_precision_that_was_asked_for(precision, given, width, expected):
    handed = Handed()
    buffers = buffers_of(handed, pilot={1: np.zeros(width)}, precision=precision)
    buffers.add({1: torch.ones(4, width, dtype=given)}, {}, np.zeros(4, int))
    buffers.flush()
    assert handed.parts[0][0][1].dtype == expected
