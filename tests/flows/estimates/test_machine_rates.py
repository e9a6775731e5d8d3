"""Rates are measured on the device of the settings, and nothing is left behind."""

import pytest
import torch

from flows.estimates import machine_rates
from flows.estimates.machine_rates import disk_rate, measure_rates, product_rate
from flows.settings import load_settings


def test_the_machine_is_measured_and_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setattr(machine_rates, "ROUND_SECONDS", 0.001)
    rates = measure_rates(load_settings("demo", ["model.device=cpu"]), 32)
    assert min(vars(rates).values()) > 1e5
    assert disk_rate(tmp_path) > 1e5
    assert list(tmp_path.iterdir()) == []


def test_what_runs_on_an_accelerator_is_measured_there(monkeypatch):
    monkeypatch.setattr("ato.numerics.devices.choose_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(machine_rates, "product_rate", lambda d, dtype, place: 100.0 if place.type == "cuda" else 9.0)
    monkeypatch.setattr(machine_rates, "host_product_rate", lambda d: 7.0)
    monkeypatch.setattr(machine_rates, "memory_rate", lambda place: 10.0 if place.type == "cuda" else 3.0)
    for name in ("solve_rate", "disk_rate"):
        monkeypatch.setattr(machine_rates, name, lambda *_: 1.0)
    rates = measure_rates(load_settings("demo", ["model.dtype=float32"]), 32)
    assert (rates.forward, rates.product, rates.host_product) == (100.0, 100.0, 7.0)
    assert (rates.memory, rates.device_memory) == (3.0, 10.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_accelerator_itself_is_measured():
    on_accelerator, on_processor = (product_rate(1024, torch.float32, torch.device(name)) for name in ("cuda", "cpu"))
    assert on_accelerator > 2 * on_processor
