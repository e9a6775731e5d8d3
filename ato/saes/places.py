"""Where an SAE reads, from everything that says so: configuration, path, release. They must agree."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import PurePath

from ato.errors import SAEError
from ato.models.sites import SITES, parse_hook

NOT_SAES = {
    "transcoder": "a transcoder, which writes at another place than it reads",
    "transcoders": "a transcoder, which writes at another place than it reads",
    "clt": "a cross-layer transcoder, which writes at several layers",
    "crosscoder": "a crosscoder, which reads several layers",
    "crosscoders": "a crosscoder, which reads several layers",
    "lorsa": "a replacement of attention heads (Lorsa)",
}
"""Words of paths that name what is no SAE."""
LOOKED_AT = 5
"""Names of a path that can say a place: the file's and those of the four folders that it lies in."""

_HOOK = re.compile(r"(blocks\.\d+\.(?:\w+\.)*?hook_[a-z]+(?:_[a-z]+)*)")
_MODULE = re.compile(r"((?:\w+\.)*(?:layers|h)\.\d+(?:\.[a-z_]+)*)$")
_NUMBER = re.compile(r"(?:blocks|layers|h)\.(\d+)")
_LAYER = re.compile(r"(?<![a-z0-9])layers?[._-]?(\d+)(?!\d)", re.IGNORECASE)
_SITE = re.compile(
    r"(?<![a-z0-9])(resid_post|resid_pre|resid_mid|mlp_out|attn_out|attn_z|hook_z|embedding|embed_tokens"
    rf"|{'|'.join(NOT_SAES)})(?![a-z0-9])",
    re.IGNORECASE,
)
_SITE_OF = {"resid_pre": "resid_post", "hook_z": "attn_z", "embedding": "embeddings", "embed_tokens": "embeddings"}
_GEMMA_SCOPE = re.compile(r"gemma-scope-\d+b-(?:pt|it)-(res|mlp|att|transcoders?)(?![a-z])")
_GEMMA_SITES = {"res": "resid_post", "mlp": "mlp_out", "att": "attn_z"}
_LLAMA_SCOPE = re.compile(r"(?:^|-)L(\d+)(R|M|A|TC)(?:-\d+x)?$")
_LLAMA_SITES = {"R": "resid_post", "M": "mlp_out", "A": "attn_out", "TC": "transcoder"}


@dataclass(frozen=True)
class Claim:
    """What one source says of the place; None where it says nothing."""

    site: str | None
    """One of ``ato.models.sites.SITES``, or another name: a place that is not read here."""
    layer: int | None
    source: str
    """What says so, as messages name it."""
    block: int | None = None
    """Number of the block in the hook's name, where it reads what enters that block: one more than ``layer``."""

    @property
    def numbers(self) -> set[int]:
        """Numbers by which others may call the layer; empty where none is named."""
        return {number for number in (self.layer, self.block) if number is not None}


@dataclass(frozen=True)
class Place:
    """Site and layer on which all sources agree; None where none says."""

    site: str | None
    layer: int | None
    source: str


def claim_of_hook(name: object, source: str) -> list[Claim]:
    """What a hook's name says, in TransformerLens' or transformers' words; nothing of an empty name."""
    if not name:
        return []
    return [_hook_claim(str(name), f"{source} {name}")]


def _hook_claim(name: str, source: str) -> Claim:
    hook, number = parse_hook(name), _NUMBER.search(name)
    block = int(number[1]) if number else None
    if hook is None:
        return Claim(name, block, source)
    return Claim(hook.site, hook.layer, source, block)


def claims_of_path(path: PurePath, words: Mapping[str, str] | None = None) -> list[Claim]:
    """What the names of a file and of the folders around it say; of several, the nearest to the file counts.

    Args:
        path: of the file with the weights.
        words: sites that the format's own names stand for, where they are not those of TransformerLens.

    Raises:
        SAEError: one name holds two layers.
    """
    names = list(reversed(path.parts))[:LOOKED_AT]
    source = f"the path {'/'.join(reversed(names))}"
    claim = _nearest(names, words or {}, source)
    if claim.site is None and (scope := _GEMMA_SCOPE.search(path.as_posix())):
        claim = replace(claim, site=_GEMMA_SITES.get(scope[1], "transcoder"))
    return [] if claim.site is None and claim.layer is None else [claim]


def _nearest(names: Iterable[str], words: Mapping[str, str], source: str) -> Claim:
    """What the first names of a path say, from the file upwards."""
    word, layer = None, None
    for name in names:
        if hook := _HOOK.search(name) or _MODULE.match(name):
            return _hook_claim(hook[1], source)
        if scope := _LLAMA_SCOPE.search(name):
            return Claim(_LLAMA_SITES[scope[2]], int(scope[1]), source)
        layers = {int(number) for number in _LAYER.findall(name)}
        if layer is None and len(layers) > 1:
            raise SAEError(
                f"the name {name} holds the layers {' and '.join(map(str, sorted(layers)))}",
                cure="rename it so that one layer is named",
            )
        if layer is None and layers:
            (layer,) = layers
        if word is None and (found := [match.lower() for match in _SITE.findall(name)]):
            word = next((match for match in found if match in NOT_SAES), found[0])
    if word == "resid_pre" and layer is not None:
        return _hook_claim(f"blocks.{layer}.hook_resid_pre", source)
    return Claim(None if word is None else words.get(word, _SITE_OF.get(word, word)), layer, source)


def agreed_place(claims: Iterable[Claim]) -> Place:
    """The place that all claims name.

    Raises:
        SAEError: two of them name different sites or layers, or one names what is no SAE.
    """
    found = list(claims)
    for claim in found:
        if claim.site in NOT_SAES:
            raise SAEError(f"{claim.source} names {NOT_SAES[claim.site]}, not an SAE", cure="use an SAE")
    sites = [claim for claim in found if claim.site is not None]
    # A hook's name tells what enters a block from what leaves it, which a number alone does not.
    layers = sorted((claim for claim in found if claim.numbers), key=lambda claim: claim.block is None)
    for first, other in pairwise(sites):
        if first.site != other.site:
            raise _contradiction(first, other)
    for first, other in combinations(layers, 2):
        if not first.numbers & other.numbers:
            raise _contradiction(first, other)
    sources = dict.fromkeys(claim.source for claim in [*sites[:1], *layers[:1]])
    return Place(sites[0].site if sites else None, layers[0].layer if layers else None, ", ".join(sources))


def _contradiction(first: Claim, other: Claim) -> SAEError:
    return SAEError(
        f"{first.source} says {_said(first)}, but {other.source} says {_said(other)}",
        cure="rename the folder or mend the configuration, whichever is wrong",
    )


def _said(claim: Claim) -> str:
    layer = None if claim.layer is None else f"layer {claim.layer}"
    return " of ".join(part for part in (claim.site, layer) if part)


def check_place(place: Place, site: str | None, layer: int | None) -> None:
    """Refuse to read another place than an SAE's own, as far as it is known.

    Args:
        site: where it is to read; None leaves the site unchecked.
        layer: block it is to read; None leaves the layer unchecked.

    Raises:
        SAEError: another site or layer, or a place that is not read here.
    """
    if site is None and layer is None:
        return
    wanted = " of ".join(part for part in (site, None if layer is None else f"layer {layer}") if part)
    if place.site is not None and place.site not in SITES:
        raise SAEError(
            f"the SAE reads {place.site} ({place.source}), but is used at {wanted}",
            cure=f"use an SAE of one of {', '.join(SITES)}",
        )
    if site is not None and place.site not in (None, site):
        layer_read = "" if place.layer is None else f" of layer {place.layer}"
        raise SAEError(
            f"the SAE reads {place.site}{layer_read} ({place.source}), but is used at {wanted}",
            cure=f"set collect.site={place.site}, or use an SAE of {site}",
        )
    if layer is not None and place.layer not in (None, layer):
        raise SAEError(
            f"the SAE reads layer {place.layer} ({place.source}), but is listed under layer {layer}",
            cure=f"list it under layer {place.layer}, or use one of layer {layer}",
        )


def nominal_l0(path: str, listed: float | None = None) -> float | None:
    """The average L0 in a path (``average_l0_70``), else what a release lists; None if neither."""
    found = re.search(r"average_l0_(\d+)", path)
    return float(found[1]) if found else (float(listed) if listed else None)
