"""A search that names one feature: ``L16/658``, ``16/658`` or ``SAE/658``; a number alone where there is one SAE."""

from collections.abc import Iterable
from typing import NamedTuple

from warehouse.catalog.feature_names import feature_name


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
    if (named := feature_name(text)) is None:
        return None
    found = [
        known.sae
        for known in saes
        if named.feature_id < known.d_sae and named.sae in (None, known.sae) and named.layer in (None, known.layer)
    ]
    return (found[0], named.feature_id) if len(found) == 1 else None
