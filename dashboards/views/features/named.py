"""A search that names one feature: ``L16/658``, ``16/658`` or ``SAE/658``; a number alone where there is one SAE."""

import re
from collections.abc import Iterable
from typing import NamedTuple

NAME = re.compile(r"(?:(?P<where>.+)/)?(?P<feature_id>\d+)")
LAYER = re.compile(r"[Ll]?(?P<layer>\d+)")


class KnownSAE(NamedTuple):
    """An SAE of the collection."""

    sae: str
    layer: int
    d_sae: int


def named_feature(text: str, saes: Iterable[KnownSAE]) -> tuple[str, int] | None:
    """SAE and number of the one feature that a search names; None: the text is to be searched for.

    Args:
        text: as typed.
        saes: of the collection.
    """
    if (name := NAME.fullmatch(text.strip())) is None:
        return None
    where, feature_id = name["where"], int(name["feature_id"])
    layer = None if where is None else LAYER.fullmatch(where)
    found = [
        known.sae
        for known in saes
        if feature_id < known.d_sae
        and (where is None or known.sae == where or (layer is not None and known.layer == int(layer["layer"])))
    ]
    return (found[0], feature_id) if len(found) == 1 else None
