"""What the latest labelling of an SAE says of its features, in the words of a feature's page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ato.features.exports.feature_page import Description, TokenCounts
from warehouse.catalog.catalog import rows
from warehouse.catalog.example_groups import by_feature, example_groups
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

DOMAINS, REGION, PLACE = ("topic", "domain", "source"), "region", "relative_position"
"""Strata that are taken as the domain of a document, the first that the corpus has, else any that is none of these two:
the part of a conversation, and the place in a sequence."""

_RUNS = "runs as (select key, max(started_at) as at from stage_runs where collection = $collection group by key)"
_FEATURES = f"""with {_RUNS},
latest as (
    select f.evidence from labelled_features as f left join runs as r on r.key = f.evidence
    where f.collection = $collection and f.sae = $sae
    order by r.at desc nulls last, f.evidence limit 1
)
select evidence, feature_id, source from labelled_features
semi join latest using (evidence)
where collection = $collection and sae = $sae order by feature_id"""
_OWN = "collection = $collection and evidence = $evidence and list_contains($ids, feature_id)"
_COUNTS = f"""select feature_id, n_tokens, n_active, max_activation, promoted, promoted_logits, suppressed, suppressed_logits
from labelled_features where {_OWN}"""
_WINDOWS = f"""select * from example_windows where {_OWN} and kind <> 'silent'
order by feature_id, kind, activation desc, window_id"""
_HISTOGRAMS = f"select feature_id, low, high, n from feature_histograms where {_OWN} order by feature_id, bin"
_STRATA = f"select feature_id, stratum, value, n_tokens, n_active from feature_strata where {_OWN}"
_TOKENS = """select distinct stratum, value, n_tokens from feature_strata
where collection = $collection and evidence = $evidence"""
_DESCRIPTIONS = f"""with {_RUNS},
scores as (
    select collection, labelling, feature_id, score from description_scores
    where scorer = 'detection' and tier = 'all' and control = 'none'
)
select d.feature_id, d.judge, d.description, s.score from feature_descriptions as d
left join runs as r on r.key = d.labelling
left join scores as s using (collection, labelling, feature_id)
where d.collection = $collection and d.sae = $sae and d.chosen and list_contains($ids, d.feature_id)
qualify row_number() over (partition by d.feature_id, d.judge order by r.at desc nulls last, d.labelling) = 1
order by d.feature_id, s.score desc nulls last, d.judge"""


@dataclass(frozen=True)
class LabelledPart:
    """What is known of some features."""

    tokens: TokenCounts | None = None
    counts: dict[int, dict[str, Any]] = field(default_factory=dict)
    windows: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    histograms: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    strata: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    descriptions: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    is_neuron: bool = False

    def values(self, feature: int, *, counted: bool) -> dict[str, Any]:
        """Fields of a feature's page, those of them that the labelling knows.

        Args:
            feature: its number.
            counted: whether counts are to be of the labelling's sample.
        """
        found: dict[str, Any] = {}
        if described := self.descriptions.get(feature):
            found["descriptions"] = tuple(
                Description(row["description"], row["judge"], score=row["score"], score_kind="detection")
                for row in described
            )
        if (own := self.counts.get(feature)) is None:
            return found
        for name, column in (("top", "promoted"), ("bottom", "suppressed")):
            found |= {f"{name}_tokens": tuple(own[column]), f"{name}_logits": tuple(own[f"{column}_logits"])}
        found["groups"] = example_groups(self.windows.get(feature, ()))
        found["histogram_edges"], found["histogram_counts"] = _histogram(
            self.histograms.get(feature, ()), own["max_activation"]
        )
        found["is_neuron"] = self.is_neuron
        if counted:
            found["tokens"] = self.tokens
            found["active"] = _token_counts(own["n_active"], self.strata.get(feature, ()), "n_active")
        return found


class LabelledPages:
    """The latest labelling of one SAE; it knows nothing where the SAE, or the warehouse, has none.

    Args:
        warehouse: of the tables.
        collection: key of the collection.
        sae: key of the SAE, or of a layer's neurons.
    """

    def __init__(self, warehouse: Warehouse, collection: str, sae: str):
        self._warehouse, self._own = warehouse, {"collection": collection, "sae": sae}

    @property
    def ids(self) -> list[int]:
        """Features that were labelled, ascending."""
        return [row["feature_id"] for row in self._features]

    def part(self, ids: Sequence[int]) -> LabelledPart:
        """What is known of some features."""
        if not self._features:
            return LabelledPart()
        counts = self._rows(_COUNTS, ids)
        return LabelledPart(
            _token_counts(counts[0]["n_tokens"], self._tokens, "n_tokens") if counts else None,
            {row["feature_id"]: row for row in counts},
            by_feature(self._rows(_WINDOWS, ids)),
            by_feature(self._rows(_HISTOGRAMS, ids)),
            by_feature(self._rows(_STRATA, ids)),
            by_feature(rows(self._warehouse, _DESCRIPTIONS, self._own | {"ids": list(ids)})),
            self._features[0]["source"] == "neurons",
        )

    @cached_property
    def _features(self) -> list[dict[str, Any]]:
        return rows(self._warehouse, _FEATURES, self._own) if "labelled_features" in TABLES else []

    @cached_property
    def _tokens(self) -> list[dict[str, Any]]:
        own = {"collection": self._own["collection"], "evidence": self._features[0]["evidence"]}
        return rows(self._warehouse, _TOKENS, own)

    def _rows(self, sql: str, ids: Sequence[int]) -> list[dict[str, Any]]:
        own = {"collection": self._own["collection"], "evidence": self._features[0]["evidence"], "ids": list(ids)}
        return rows(self._warehouse, sql, own)


def _token_counts(total: int, strata: Sequence[dict[str, Any]], column: str) -> TokenCounts:
    names = {row["stratum"] for row in strata}
    known = (name for name in (*DOMAINS, *sorted(names - {REGION, PLACE})) if name in names)
    domain = next(known, None)
    by_domain, by_region = (
        {
            row["value"]: row[column]
            for row in sorted(strata, key=lambda row: str(row["value"]))
            if row["stratum"] == name
        }
        for name in (domain, REGION)
    )
    return TokenCounts(total, by_domain, by_region)


def _histogram(bins: Sequence[dict[str, Any]], largest: float | None) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Edges and counts without gaps; the last bin, which is open, ends at the largest activation."""
    edges, counts = list[float](), list[int]()
    for one in bins:
        if edges and one["low"] > edges[-1]:
            edges.append(one["low"])
            counts.append(0)
        high = one["high"] if one["high"] is not None else largest
        if high is None or high <= one["low"]:
            continue
        edges += [one["low"], high] if not edges else [high]
        counts.append(one["n"])
    return tuple(edges), tuple(counts)
