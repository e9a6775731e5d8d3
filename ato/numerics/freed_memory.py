"""Giving memory that was freed back to the system, where malloc was told to keep it for the next batch."""

import ctypes
import gc
from contextlib import suppress


def return_freed_memory() -> None:
    """Give back all whole pages that nothing uses, also those between others that are used.

    Kept pages spare a forward pass its page faults (see ``flows.engine.environment``), but what one stage has left is of
    other sizes than what the next one asks for: their sum would be the peak. It takes milliseconds a gigabyte.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # other malloc libraries than glibc's have no such function
        ctypes.CDLL(None).malloc_trim(0)
