"""The pages of the published site, in the order of its navigation."""

from collections.abc import Collection

from dashboards.site.declarations import Page
from dashboards.site.pages import (
    causal,
    entities,
    fate,
    feature,
    features,
    findings,
    graphs,
    labelled,
    labels,
    operators,
    sae_study,
    saes,
    text,
    transport,
)
from dashboards.site.pages.compare import compare_pages
from dashboards.site.texts import NAME


def pages(known: Collection[str], with_text: bool, several: bool = False) -> tuple[Page, ...]:
    """All pages.

    Args:
        known: names of the tables and marts that there are.
        with_text: whether pages may show text of the corpus.
        several: whether there are several collections.
    """
    return (
        findings.page(known),
        transport.page(),
        operators.page(),
        fate.page(),
        features.page(with_text, NAME in known),
        feature.page(with_text),
        *([text.page()] if NAME in known else []),
        labels.page(),
        labelled.page(with_text),
        *compare_pages(with_text, several),
        causal.page(),
        graphs.page(known),
        entities.page(),
        saes.page(),
        sae_study.page(),
    )
