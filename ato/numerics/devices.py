"""Which device the model runs on, and in which precision."""

import torch
from torch import Tensor

from ato.errors import SettingsError, UnavailableError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_devices(devices: str = "auto") -> list[torch.device]:
    """The devices of a list such as ``cuda:0,cuda:1``, which share the work; errors as in ``choose_device``."""
    return [choose_device(name.strip()) for name in devices.split(",")]


def choose_device(device: str = "auto") -> torch.device:
    """``auto`` takes cuda, else mps, else cpu; any other name is checked to exist. Of several it is the first.

    Raises:
        SettingsError: not a name of a device.
        UnavailableError: this machine has no such device.
    """
    device = device.split(",")[0].strip()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise SettingsError("unknown device", where=device, cure="use auto, cpu, cuda, cuda:N or mps") from None
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (chosen.index or 0) >= count.get(chosen.type, 0):
        raise UnavailableError("no such device on this machine", where=device, cure="use auto or cpu")
    return chosen


def to_host(x: Tensor) -> Tensor:
    """A tensor that has been computed, on the host: from CUDA through pinned memory, on a stream beside the work there.

    Only the calling thread waits; kernels and copies of other threads go on.
    """
    if x.device.type != "cuda":
        return x.cpu()
    stream = torch.cuda.Stream(x.device)
    with torch.cuda.stream(stream):
        host = torch.empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x, non_blocking=True)
    stream.synchronize()
    return host


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """``auto`` takes bfloat16 where the hardware multiplies it, else float32.

    Never float16 unasked: massive activations of several families overflow it.

    Raises:
        SettingsError: not a precision that models run in.
    """
    if isinstance(dtype, torch.dtype):
        dtype = str(dtype).removeprefix("torch.")
    if dtype == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    if dtype not in DTYPES:
        raise SettingsError("unknown precision", where=dtype, cure=f"use auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu":
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    # Before torch 2.12 the question could only be asked through private names.
    return any(getattr(torch.cpu, name, bool)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
