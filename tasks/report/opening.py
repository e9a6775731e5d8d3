"""What a report opens with: findings, what the study is of, and the study's claims, checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.report.claims import Claim, claims
from tasks.report.overview import head
from tasks.report.panels import Scope, text
from warehouse.catalog.finding_texts import OF_COLLECTION, Finding, findings_of


@dataclass(frozen=True)
class Opening:
    """All that stands before the figures."""

    title: str
    collection: str
    head: str
    """HTML of what the study is of: collection, SAEs, quality."""
    findings: Sequence[Finding]
    claims: Sequence[Claim]

    CONTENTS = {"findings": "Findings", "saes": "Sparse autoencoders", "quality": "Quality", "claims": "Claims"}
    """What it holds, by anchor, in order."""


def opening(scope: Scope) -> Opening:
    """The opening of a collection's report."""
    found = findings_of(scope.ask(OF_COLLECTION.replace("$collection", text(scope.collection))))
    return Opening(f"Transport study: {scope.collection}", scope.collection, head(scope), found, claims(scope))
