"""Families of features across layers: SAEs of equal settings at two layers, compared by weights, transport and activations."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ato.numerics.intervals import number_or_none
from ato.operators import TransportOperator, load_operator
from ato.residuals import run_pass
from ato.sae_studies.families import Families
from ato.sae_studies.family_results import FeatureFamilies
from tasks.collect.sources import residual_source
from tasks.engine.model_cache import sae_device
from tasks.engine.study import Study
from tasks.sae_study.stages import Member, Place, SAEStudy
from warehouse.catalog.catalog import rows

OPERATOR = """select operator, path from operators
where collection = ? and source_layer = ? and target_layer = ? and position_policy = 'same' and method = 'ridge'
order by operator limit 1"""


@dataclass(frozen=True)
class Family:
    """The same kind of SAE at two layers."""

    source: Member
    target: Member
    operator: str | None
    """Key of the operator between them; None where none was fitted."""
    path: str | None
    """Of its file."""


def families_of(of: SAEStudy) -> list[Family]:
    """SAEs that are looked at, of equal settings at consecutive layers of the study, with the ridge operator between."""
    alike: dict[tuple[Any, ...], list[Member]] = {}
    for member in of.looked_at:
        if member.of.is_trained and member.place == Place(member.layer, of.study.row.site):
            sae = member.of
            alike.setdefault((sae.architecture, sae.d_sae, sae.k, sae.seed), []).append(member)
    found = []
    for members in alike.values():
        for source, target in pairwise(sorted(members, key=lambda member: member.layer)):
            operator = rows(of.study.warehouse, OPERATOR, [of.study.collection, source.layer, target.layer])
            known = operator[0] if operator else {"operator": None, "path": None}
            found.append(Family(source, target, known["operator"], known["path"]))
    return found


def compared_families(of: SAEStudy) -> list[tuple[Family, FeatureFamilies]]:
    """All families of the study, compared in one pass over the test tokens; no pass where there is none."""
    families = families_of(of)
    if not families:
        return []
    consumers = [_comparison(of.study, family) for family in families]
    layers = sorted({member.layer for family in families for member in (family.source, family.target)})
    run_pass(residual_source(of.study), consumers, layers=layers, splits=["test"])
    return [(family, consumer.result()) for family, consumer in zip(families, consumers, strict=True)]


def family_rows(family: Family, found: FeatureFamilies) -> Iterator[dict[str, Any]]:
    """Rows of ``feature_families`` without ``collection`` and ``study``."""
    match, transport = found.matches["cosine"], found.matches["transport"]
    for feature in found.feature_id.tolist():
        partner = int(match.direction.source_feature[feature])
        if partner < 0:
            continue
        known = family.operator is not None
        yield {
            "sae": family.target.key,
            "source_sae": family.source.key,
            "feature_id": feature,
            "operator": family.operator,
            "source_feature": partner,
            "decoder_cosine": float(match.direction.cosine[feature]),
            "transport_cosine": number_or_none(transport.direction.transport_cosine[feature]) if known else None,
            "transport_feature": int(transport.direction.source_feature[feature]) if known else None,
            "activation_r2": number_or_none(match.r2.value[feature]),
            "activation_jaccard": number_or_none(match.agreement.value[feature]),
            "jaccard_low": number_or_none(match.agreement.low[feature]),
            "jaccard_high": number_or_none(match.agreement.high[feature]),
            "jaccard_by_chance": number_or_none(match.agreement_by_chance[feature]),
            "n_tokens": found.n_tokens,
        }


def _comparison(study: Study, family: Family) -> Families:
    """A consumer of the residuals of both layers."""
    device = sae_device(study.model)
    source, target = ((member.layer, member.sae.to(device)) for member in (family.source, family.target))
    if family.path is None:
        d = study.row.d_model
        operator = TransportOperator(np.eye(d), np.zeros(d), "identity", source[0], target[0])
    else:
        operator = load_operator(study.warehouse.artifact_path(*family.path.split("/")[1:]))
    return Families(source, target, operator)
