"""What a walk over the pages has to know of the study that they show, looked up in its tables: the planted one's or a demo's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.catalog.catalog import rows

WALKED = """with intervened as (
    select collection from causal_summary
    where method = 'ridge' and intervention = 'identity' and feature_id is null
)

select collection from collections
semi join intervened using (collection)
order by created_at desc, collection
limit 1"""
STOPS = """select sae, feature_id, source_layer, target_layer, stops_at_leap, stops_as
from feature_profile
where collection = ? and method = 'ridge' and position_policy = 'same' and leap = stops_at_leap and transported_leap is not null
order by feature_profile.stops_as <> 'computed', target_layer desc, leap desc, feature_id
limit 1"""
JUDGED = """select count(*) as n from feature_transport as t
semi join latest_evaluations as l on l.evaluation = t.evaluation and l.sae = t.sae and l.operator = t.operator and l.is_latest
where t.collection = ? and t.method = 'ridge' and t.sae = ? and t.source_layer = ? and t.target_layer = ?"""
INTERVENED = """select count(*) as n, count(*) filter (difference_excludes_zero) as n_told
from causal_summary
where collection = ? and method = 'ridge' and intervention = 'identity' and feature_id is null
group by position_set
order by position_set <> 'study', position_set = 'all', position_set
limit 1"""
SHOWN = """select sae, feature_id from feature_examples
semi join feature_scores on feature_scores.sae = feature_examples.sae
    and feature_scores.feature_id = feature_examples.feature_id and feature_scores.selected
where collection = ? order by layer, feature_id limit 1"""
EMBEDDED = "select count(*) > 0 as is_embedded from latest_embeddings where collection = ? and is_latest"


@dataclass(frozen=True)
class Stopping:
    """A feature that is transported over some leaps and not further."""

    sae: str
    feature_id: int
    source_layer: int
    """Of the first leap over which it is not transported."""
    target_layer: int
    stops_at_leap: int
    stops_as: str
    """Its verdict there."""


@dataclass(frozen=True)
class WalkedStudy:
    """The latest collection of a warehouse in which transported residuals were put back."""

    collection: str
    stopping: Stopping
    n_judged: int
    """Features of its SAE that are judged at the pair where it stops."""
    n_pairs: int
    """Pairs on which transport was put back beside the identity."""
    n_told_apart: int
    """Those where the interval of their difference excludes 0."""
    shown: tuple[str, int]
    """A selected feature with examples: its SAE and number."""
    is_embedded: bool
    """Whether features can be found by meaning."""


def look_up(root: str | Path) -> WalkedStudy:
    """Ask the tables of a warehouse."""

    def one(sql: str, *asked: Any) -> dict[str, Any]:
        (row,) = rows(root, sql, list(asked))
        return row

    collection = one(WALKED)["collection"]
    stopping = Stopping(**one(STOPS, collection))
    judged = one(JUDGED, collection, stopping.sae, stopping.source_layer, stopping.target_layer)
    intervened = one(INTERVENED, collection)
    shown = one(SHOWN, collection)
    return WalkedStudy(
        collection,
        stopping,
        judged["n"],
        intervened["n"],
        intervened["n_told"],
        (shown["sae"], shown["feature_id"]),
        one(EMBEDDED, collection)["is_embedded"],
    )
