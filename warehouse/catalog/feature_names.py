"""How people name a feature: ``658``, ``12/658``, ``L12/658`` or ``KEY/658``."""

import re
from typing import NamedTuple

_NAME = re.compile(r"(?:(?P<of>[\w.+-]+)/)?(?P<feature>\d{1,9})")
_LAYER = re.compile(r"[lL]?(?P<layer>\d{1,4})")


class FeatureName(NamedTuple):
    """What a name says."""

    feature_id: int
    layer: int | None = None
    """Of its SAE; None if the name does not say."""
    sae: str | None = None
    """Key of its SAE; None if the name does not say."""


def feature_name(text: str) -> FeatureName | None:
    """The feature that a text names; None if it names none.

    >>> feature_name("L12/658")
    FeatureName(feature_id=658, layer=12, sae=None)
    """
    found = _NAME.fullmatch(text.strip())
    if found is None:
        return None
    feature, of = int(found["feature"]), found["of"]
    if of is None:
        return FeatureName(feature)
    layer = layer_named(of)
    return FeatureName(feature, sae=of) if layer is None else FeatureName(feature, layer)


def layer_named(text: str) -> int | None:
    """The layer that ``12`` or ``L12`` names; None of any other text."""
    found = _LAYER.fullmatch(text.strip())
    return None if found is None else int(found["layer"])
