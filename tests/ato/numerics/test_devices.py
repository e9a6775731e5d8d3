"""Devices and precisions are chosen by name."""

import pytest
import torch

from ato.errors import SettingsError, UnavailableError
from ato.numerics.devices import choose_device, choose_devices, choose_dtype, to_host


def test_devices_and_precisions_are_checked_by_name():
    assert choose_device("cpu").type == "cpu"
    assert [str(device) for device in choose_devices("cpu, cpu")] == ["cpu", "cpu"]
    assert choose_device("cpu,cpu").type == "cpu"
    with pytest.raises(SettingsError, match="unknown device"):
        choose_device("abacus")
    with pytest.raises(UnavailableError, match="no such device"):
        choose_device("cuda:99")
    assert choose_dtype("float16", torch.device("cpu")) == torch.float16
    assert choose_dtype("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)
    with pytest.raises(SettingsError, match="unknown precision"):
        choose_dtype("int4", torch.device("cpu"))


def test_the_first_of_several_devices_is_taken_and_each_is_checked():
    assert choose_device("cpu, cuda:99").type == "cpu"
    with pytest.raises(UnavailableError, match="cuda:99"):
        choose_devices("cpu,cuda:99")


def test_a_precision_may_be_given_as_torch_names_it():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert choose_dtype(dtype, torch.device("cpu")) == dtype
    with pytest.raises(SettingsError, match="float64"):
        choose_dtype(torch.float64, torch.device("cpu"))


def test_what_is_on_the_host_stays_where_it_is():
    x = torch.arange(3.0)
    assert to_host(x) is x
