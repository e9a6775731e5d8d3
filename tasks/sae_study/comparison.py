"""What the SAEs of a study have in common: agreement between seeds, families of features across layers, innovations."""

from itertools import combinations
from typing import Any

from ato.sae_studies.dictionaries import Agreement, dictionary_agreement
from tasks.engine.progress import phase
from tasks.sae_study.families import compared_families, family_rows
from tasks.sae_study.innovations import innovation_rows
from tasks.sae_study.living import living
from tasks.sae_study.stages import Member, SAEStudy

SAME = ("layer", "site", "target_site", "skip", "source_layer", "operator", "architecture", "d_sae", "k")


def compare(of: SAEStudy) -> None:
    """Write which SAEs the study compares, and how far those agree that differ in their seeds only."""
    with of.whole as stage, phase("sae_study", "comparing SAEs"):
        own = {"collection": stage.collection, "study": stage.key}
        stage.write("sae_studies", [own | {"sae": m.key, "looked_at": m.looked_at} for m in of.members])
        found = [own | _row(first, second, agreement) for first, second, agreement in _agreements(of)]
        if found:
            stage.write("sae_agreement", found)
        if innovations := [own | row for row in innovation_rows(of)]:
            stage.write("innovation_comparisons", innovations)
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
    alive = {member.key: living(of, member) for pair in pairs for member in pair}
    return [
        (
            first,
            second,
            dictionary_agreement(first.coder.W_dec, second.coder.W_dec, alive[first.key], alive[second.key]),
        )
        for first, second in pairs
    ]


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
