"""What the SAEs of a study have in common: agreement between seeds, families of features across layers."""

from itertools import combinations
from typing import Any

import numpy as np

from ato.sae_studies.dictionaries import Agreement, dictionary_agreement
from tasks.engine.progress import phase
from tasks.sae_study.families import compared_families, family_rows
from tasks.sae_study.stages import Member, SAEStudy
from warehouse.catalog.catalog import rows

SAME = ("layer", "site", "target_site", "skip", "architecture", "d_sae", "k")


def compare(of: SAEStudy) -> None:
    """Write which SAEs the study compares, and how far those agree that differ in their seeds only."""
    with of.whole as stage, phase("sae_study", "comparing SAEs"):
        own = {"collection": stage.collection, "study": stage.key}
        stage.write("sae_studies", [own | {"sae": m.key, "looked_at": m.looked_at} for m in of.members])
        found = [own | _row(first, second, agreement) for first, second, agreement in _agreements(of)]
        if found:
            stage.write("sae_agreement", found)
        for family, compared in compared_families(of):
            related = [row | own for row in family_rows(family, compared)]
            if related:
                part = f"{family.source.key}-{stage.key}"
                stage.write("feature_families", related, part=part, sae=family.target.key)


def _agreements(of: SAEStudy) -> list[tuple[Member, Member, Agreement]]:
    trained = [member for member in of.saes if member.of.is_trained]
    pairs = [
        (first, second)
        for first, second in combinations(trained, 2)
        if first.of.seed != second.of.seed and all(getattr(first.of, name) == getattr(second.of, name) for name in SAME)
    ]
    living = {member.key: _living(of, member) for pair in pairs for member in pair}
    return [
        (
            first,
            second,
            dictionary_agreement(first.coder.W_dec, second.coder.W_dec, living[first.key], living[second.key]),
        )
        for first, second in pairs
    ]


def _living(of: SAEStudy, member: Member) -> np.ndarray:
    """[d_sae] bool, features that fire on held-out text."""
    sql = "select n_active > 0 as fires from studied_features where collection = ? and sae = ? order by feature_id"
    return np.array(
        [row["fires"] for row in rows(of.study.warehouse, sql, [of.study.collection, member.key])], dtype=bool
    )


def _row(first: Member, second: Member, agreement: Agreement) -> dict[str, Any]:
    return {
        "sae": first.key,
        "other_sae": second.key,
        "layer": first.layer,
        "n_matched": agreement.n_matched,
        "mean_cosine": agreement.matched_cosine,
        "share_same": agreement.matched_share,
        "mean_max_cosine": agreement.max_cosine[0],
        "null_mean_cosine": agreement.null.matched_cosine if agreement.null else None,
    }
