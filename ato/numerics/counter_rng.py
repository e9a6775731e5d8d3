"""Pseudo-random numbers that depend on what they are for, and not on the order in which they are drawn."""

import numpy as np

_STEP = 0x9E3779B97F4A7C15


def splitmix64(key: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014) of uint64 keys: a bijection that looks random."""
    key = key + np.uint64(_STEP)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


def uniforms(*keys: np.ndarray | int) -> np.ndarray:
    """Numbers in [0, 1), float64, one for each combination of the integer keys, which are broadcast."""
    state = np.zeros((), dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        for key in keys:
            state = splitmix64(np.atleast_1d(state ^ np.asarray(key).astype(np.uint64)))
    return (state >> np.uint64(11)) * 2.0**-53
