"""Whether a published label can be about our feature: shared top tokens, and the same variant of the SAE.

Labels are published for one SAE out of many that differ only in their sparsity. The same feature number means another
feature in each, so a label is believed only if our own logit lens promotes the tokens that the publisher's did.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ato.saes.places import nominal_l0
from ato.saes.pretrained import pretrained_directory

_MARKERS = str.maketrans({"▁": " ", "Ġ": " ", "Ċ": "\n", "ĉ": "\t", "↵": "\n"})
"""How SentencePiece, byte-level BPE and Neuronpedia's pages write white space."""
_HOOK_NUMBER = re.compile(r"(?:blocks|layers|h)\.(\d+)\b")


def normalise_token(token: str) -> str:
    """A token with its white space spelled out and without one leading space; case is kept."""
    return token.translate(_MARKERS).removeprefix(" ")


def token_alignment(published: Sequence[str] | None, ours: Sequence[str] | None) -> float | None:
    """Share of the published top tokens that are among our top tokens; None where either is missing.

    Args:
        published: ``pos_str``, the tokens that the publisher's feature promotes most.
        ours: tokens that our decoder row promotes most (logit lens).
    """
    if not published or not ours:
        return None
    known = {normalise_token(token) for token in ours}
    return sum(normalise_token(token) in known for token in published) / len(published)


def variant_difference(neuronpedia_id: str, metadata: Mapping[str, Any]) -> str | None:
    """Why labels of ``neuronpedia_id`` cannot be of this SAE, as one clause; None if nothing speaks against it.

    Compared are, where both sides are known: the SAE's own Neuronpedia id, the layer, and the average L0 that tells
    variants apart (of the id: its suffix ``__l0-N``, else what sae-lens' directory says).

    Args:
        neuronpedia_id: ``model/source`` whose labels are wanted.
        metadata: of the SAE, with ``neuronpedia_id``, ``hook_name``, ``l0`` where known.
    """
    own_id = metadata.get("neuronpedia_id")
    if own_id and own_id != neuronpedia_id:
        return f"the SAE is {own_id}, the labels are of {neuronpedia_id}"
    source = neuronpedia_id.partition("/")[2]
    layer, hook = re.match(r"(\d+)(?:-|$)", source), _HOOK_NUMBER.search(str(metadata.get("hook_name") or ""))
    if layer and hook and layer[1] != hook[1]:
        return f"the SAE reads layer {hook[1]}, the labels are of layer {layer[1]}"
    own_l0, their_l0 = metadata.get("l0"), published_l0(neuronpedia_id)
    if own_l0 and their_l0 and round(float(own_l0)) != round(their_l0):
        return f"the SAE is the variant with L0 {float(own_l0):g}, the labels are of that with L0 {their_l0:g}"
    return None


def published_l0(neuronpedia_id: str) -> float | None:
    """The average L0 of the SAE that an id stands for: its suffix, else sae-lens' directory; None if unknown."""
    suffix = re.search(r"__l0-(\d+)$", neuronpedia_id)
    return float(suffix[1]) if suffix else _directory_l0().get(neuronpedia_id)


@cache
def _directory_l0() -> dict[str, float]:
    known: dict[str, float] = {}
    for release in pretrained_directory().values():
        for entry in release.get("saes", ()):
            l0 = nominal_l0(str(entry.get("path", "")), entry.get("l0"))
            if entry.get("neuronpedia") and l0 is not None:
                known.setdefault(entry["neuronpedia"], l0)
    return known
