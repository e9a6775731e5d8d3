"""What is labelled: features of SAEs with a page of their own, and neurons and features of studied SAEs that have labels only."""

from typing import Any

import polars as pl

from dashboards.ui.reading import ask, filled

LATEST_EVIDENCE = """latest as (
    select f.collection, f.evidence
    from labelled_features as f
    left join stage_runs as r on r.collection = f.collection and r.key = f.evidence
    where f.collection = $collection and f.sae = $sae and f.feature_id = $feature_id
    group by f.collection, f.evidence
    order by max(r.started_at) desc nulls last, f.evidence
    limit 1
)"""
"""CTE ``latest``: where the feature was last looked at to be labelled; the evidence may be newer than its labels."""

LABELS_ALONE = """select sae, any_value(layer) as layer, any_value(source) as source
from labelled_features
anti join saes using (collection, sae)
where collection = $collection
group by sae
order by sae"""

IS_LABELLED = """select feature_id
from labelled_features
where collection = $collection and sae = $sae and feature_id = $feature_id
limit 1"""


def labels_alone(collection: str) -> pl.DataFrame:
    """Keys (``sae``), ``layer`` and ``source`` of what has labels and is no SAE of the collection: neurons above all."""
    return ask(filled(LABELS_ALONE, collection=collection))


def is_labelled(about: dict[str, Any]) -> bool:
    """Whether the feature was chosen for labelling."""
    return not ask(filled(IS_LABELLED, **about)).is_empty()
