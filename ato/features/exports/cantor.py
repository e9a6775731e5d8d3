"""One number for a layer and a feature: Cantor's pairing, by which circuit-tracer names features."""

from math import isqrt

from ato.errors import InputError


def cantor_id(layer: int, feature_id: int) -> int:
    """``(x + y)(x + y + 1) / 2 + y`` of layer x and feature y.

    >>> cantor_id(1, 7)
    43

    Raises:
        InputError: a negative number.
    """
    if layer < 0 or feature_id < 0:
        raise InputError(f"layer {layer}, feature {feature_id} has no id", cure="use numbers from 0")
    diagonal = layer + feature_id
    return diagonal * (diagonal + 1) // 2 + feature_id


def from_cantor_id(number: int) -> tuple[int, int]:
    """The layer and the feature of an id; exact for integers of any size.

    Raises:
        InputError: a negative number.
    """
    if number < 0:
        raise InputError(f"{number} is no feature's id", cure="use numbers from 0")
    diagonal = (isqrt(8 * number + 1) - 1) // 2
    feature_id = number - diagonal * (diagonal + 1) // 2
    return diagonal - feature_id, feature_id
