"""Innovation SAEs of a study beside its plain ones: alone, in chains of layers that are replaced at once, and by decoders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import torch

from ato.numerics.evenly import evenly_spaced
from ato.residuals import run_pass
from ato.sae_studies.chain_splicing import Coder, chain_losses
from ato.sae_studies.innovation import InnovationSAE, n_parameters, without_features
from ato.sae_studies.innovation_comparison import Compared, PairedErrors, compared_losses, compared_redundancy
from ato.saes.edited_losses import SpliceLosses
from tasks.collect.sources import residual_source
from tasks.engine.model_cache import language_model, sae_device
from tasks.engine.progress import phase
from tasks.sae_study.living import living
from tasks.sae_study.stages import Member, Place, SAEStudy
from warehouse.datasets.sequences import stored_sequences

LINEAR, OWN = "linear", "innovation"
"""Names of the two sides that every plain SAE is compared with."""
ALIKE = ("architecture", "k", "seed")


@dataclass(frozen=True)
class Chain:
    """An innovation SAE with all that it stands on, and the plain SAEs of one width at the same layers."""

    innovations: tuple[Member, ...]
    """From the lowest to the one that the chain is of."""
    head: Member | None
    """The plain SAE at the first source layer, as wide as the innovation SAEs; None: there is none, and so no chain."""
    plain: tuple[Member | None, ...]
    """Beside each innovation SAE, of one width; None where the study has none."""

    @property
    def of(self) -> Member:
        """The innovation SAE that the chain is of."""
        return self.innovations[-1]

    @property
    def other(self) -> Member:
        """The plain SAE beside it."""
        assert self.plain[-1] is not None  # a chain is made for each of them
        return self.plain[-1]

    @cached_property
    def whole(self) -> tuple[tuple[Member, ...], tuple[Member, ...]] | None:
        """All layers of both sides, the head first; None where a layer has no plain SAE."""
        others = [member for member in self.plain if member is not None]
        if self.head is None or len(others) < len(self.plain):
            return None
        return (self.head, *self.innovations), (self.head, *others)


def chains_of(of: SAEStudy) -> list[Chain]:
    """One for each innovation SAE and each plain one of its layer, architecture, k and seed, whatever its width."""
    trained = [member for member in of.saes if member.of.is_trained]
    plain = [member for member in trained if member.place == Place(member.layer, of.study.row.site)]
    innovations = [member for member in trained if member.of.is_innovation]

    def beside(member: Member, layer: int, d_sae: int) -> Member | None:
        found = (one for one in plain if one.layer == layer and one.of.d_sae == d_sae and _alike(one, member))
        return next(found, None)

    def standing_on(member: Member) -> tuple[Member, ...]:
        below = (
            one
            for one in innovations
            if one.layer == member.of.source_layer and _alike(one, member)
            if (one.of.d_sae, one.of.method) == (member.of.d_sae, member.of.method)
        )
        lower = next(below, None)
        return (*(standing_on(lower) if lower is not None else ()), member)

    found = []
    for member in innovations:
        links = standing_on(member)
        first = links[0].of.source_layer
        assert first is not None
        head = beside(member, first, member.of.d_sae)
        widths = sorted({one.of.d_sae for one in plain if one.layer == member.layer and _alike(one, member)})
        for width in widths:
            found.append(Chain(links, head, tuple(beside(member, link.layer, width) for link in links)))
    return found


def _alike(first: Member, second: Member) -> bool:
    return all(getattr(first.of, name) == getattr(second.of, name) for name in ALIKE)


def innovation_rows(of: SAEStudy) -> list[dict[str, Any]]:
    """Rows of ``innovation_comparisons`` without ``collection`` and ``study``."""
    chains = chains_of(of)
    if not chains:
        return []
    device = sae_device(of.study.model)
    needed = {member.key: member for chain in chains for member in _members(chain)}
    coders: dict[str, Coder] = {key: member.coder.to(device) for key, member in needed.items()}  # type: ignore[misc]
    errors = _errors(of, chains, coders)
    l0 = {key: errors[member.layer].l0(key) for key, member in needed.items()}
    rows = []
    for _, group in groupby(chains, key=lambda chain: chain.of.key):
        some = list(group)
        with phase("sae_study", f"{some[0].of.label} against {len(some)} plain SAEs"):
            for chain, scope, metric, sides, compared in _compared(of, some, coders, errors):
                rows.append(
                    {"sae": chain.of.key, "other_sae": chain.other.key, "scope": scope, "metric": metric}
                    | _row(compared)
                    | _sizes(sides, coders, l0)
                )
    return rows


def _members(chain: Chain) -> Iterator[Member]:
    yield from (chain.of, chain.other)
    if chain.whole is not None:
        yield from (member for side in chain.whole for member in side)


def _errors(of: SAEStudy, chains: Sequence[Chain], coders: Mapping[str, Coder]) -> dict[int, PairedErrors]:
    """Errors at every layer, from one pass over the test tokens of all layers."""
    layer_of = {member.key: member.layer for chain in chains for member in _members(chain)}
    at: dict[int, dict[str, Coder]] = {}
    for key, layer in layer_of.items():
        at.setdefault(layer, {})[key] = coders[key]
        if isinstance(coder := coders[key], InnovationSAE):
            at[layer][f"{LINEAR} {key}"] = _linear(coder)
    errors = {layer: PairedErrors(some, layer) for layer, some in at.items()}
    sources = {coder.layers[0] for coder in coders.values() if isinstance(coder, InnovationSAE)}
    with phase("sae_study", "errors of innovation SAEs and plain ones"):
        layers = sorted(sources | set(errors))
        run_pass(residual_source(of.study), list(errors.values()), layers=layers, splits=["test"])
    return errors


def _linear(coder: InnovationSAE) -> InnovationSAE:
    return without_features(coder.operator).to(coder.W_dec.device)


Side = tuple[Member, ...]
Sides = tuple[Side, Side]


def _compared(
    of: SAEStudy, chains: Sequence[Chain], coders: Mapping[str, Coder], errors: Mapping[int, PairedErrors]
) -> Iterator[tuple[Chain, str, str, Sides, Compared]]:
    """(chain, scope, metric, both sides, what was found) of all chains of one innovation SAE."""
    own = chains[0].of
    alone = _losses(of, (own,), {chain.other.key: (chain.other,) for chain in chains}, coders)
    whole = {chain.other.key: chain.whole for chain in chains if chain.whole is not None}
    if whole:
        (first, _), *_ = whole.values()
        together = _losses(of, first, {key: plain for key, (_, plain) in whole.items()}, coders)
    for chain in chains:
        key, sides = chain.other.key, ((own,), (chain.other,))
        yield chain, "alone", "fvu", sides, errors[own.layer].fvu(own.key, key, f"{LINEAR} {own.key}")
        for metric, found in compared_losses(alone, OWN, key, LINEAR).items():
            yield chain, "alone", metric, sides, found
        if chain.whole is None:
            continue
        for metric, found in compared_losses(together, OWN, key, LINEAR).items():
            yield chain, "chain", metric, chain.whole, found
        last = chain.whole[0][-2:], chain.whole[1][-2:]
        (lower, upper), (plain_lower, plain_upper) = ([_living_rows(of, member) for member in side] for side in last)
        yield chain, "neighbours", "layer_cosine", last, compared_redundancy((lower, upper), (plain_lower, plain_upper))


def _losses(of: SAEStudy, own: Side, others: Mapping[str, Side], coders: Mapping[str, Coder]) -> SpliceLosses:
    """Losses of the innovation side, of T x + b in its place, and of plain ones, in the same held-out sequences."""
    study = of.study
    held_out = stored_sequences(study.warehouse, study.collection, splits=["test"])
    lm = language_model(study.model)
    sides = {name: {member.layer: coders[member.key] for member in side} for name, side in {OWN: own, **others}.items()}
    sides[LINEAR] = {
        layer: _linear(coder) if isinstance(coder, InnovationSAE) else coder for layer, coder in sides[OWN].items()
    }
    return chain_losses(
        lm,
        {name: {layer: coder.to(lm.device) for layer, coder in side.items()} for name, side in sides.items()},
        evenly_spaced(held_out, of.settings.judging.n_sequences),
        median_norm=study.row.median_norms or None,
        site=study.row.site,
    )


def _living_rows(of: SAEStudy, member: Member) -> torch.Tensor:
    return member.sae.W_dec[torch.from_numpy(living(of, member))]


def _row(found: Compared) -> dict[str, Any]:
    row: dict[str, Any] = {"baseline": found.baseline.value, "n": found.n}
    for name in ("innovation", "plain", "difference"):
        estimate = getattr(found, name)
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row


def _sizes(sides: Sides, coders: Mapping[str, Coder], l0: Mapping[str, float]) -> dict[str, Any]:
    def numbers(member: Member) -> int:
        coder = coders[member.key]
        return coder.n_parameters if isinstance(coder, InnovationSAE) else n_parameters(coder)

    own, other = sides
    return {
        "layers": [member.layer for member in own],
        "l0": sum(l0[member.key] for member in own),
        "plain_l0": sum(l0[member.key] for member in other),
        "n_parameters": sum(map(numbers, own)),
        "plain_n_parameters": sum(map(numbers, other)),
    }
