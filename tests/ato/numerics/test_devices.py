"""Devices and precisions by name: what is chosen, and what is refused."""

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


def test_what_is_on_the_host_already_is_handed_on():
    x = torch.ones(3)
    assert to_host(x) is x


def test_a_precision_may_be_given_as_a_type():
    assert choose_dtype(torch.bfloat16, torch.device("cpu")) == torch.bfloat16
