"""Pages of an SAE's features as the tables have them, for exports: a part at a time, whatever the number of features.

Counts, logit lens and examples are of the SAE's latest scoring. Features that were labelled have the windows, the
histogram and the descriptions of the latest labelling; if all that are asked for were labelled, counts are of its sample
too, with the strata.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ato.errors import InputError
from ato.features.exports.feature_page import Description, FeaturePage, TokenCounts
from ato.text.token_texts import whole_tokens
from warehouse.catalog.catalog import rows
from warehouse.catalog.example_groups import by_feature, example_groups
from warehouse.catalog.labelled_pages import LabelledPages, LabelledPart
from warehouse.catalog.lookups import trusted_explanations
from warehouse.storage.warehouse import Warehouse

PART = 500
"""Features whose rows are held at once."""
LENS = ("top_tokens", "top_logits", "bottom_tokens", "bottom_logits")

_SCORING = """select evaluation from latest_evaluations
where kind = 'feature_scores' and is_latest and collection = ? and sae = ?"""
_SELECTED = "select feature_id from feature_scores where collection = ? and scoring = ? and selected"
_SHOWN = "select distinct feature_id from feature_examples where collection = ? and scoring = ?"
_SCORED = "select feature_id from feature_scores where collection = ? and scoring = ?"
_COUNTED = "select feature_id from feature_stats where collection = ? and sae = ?"
_SCORES = f"""select feature_id, n_tokens, n_active, {", ".join(LENS)}
from feature_scores where collection = ? and scoring = ? and list_contains(?, feature_id)"""
_STATS = """select feature_id, n_tokens, n_active from feature_stats
where collection = ? and sae = ? and list_contains(?, feature_id)"""
_EXAMPLES = """select e.feature_id, e.kind, e.quantile, e.sequence_id, e.position, e.start, e.tokens, e.activations,
    s.document, s.split, c.corpus, null as stratum
from feature_examples as e
inner join sequences as s using (collection, sequence_id)
inner join collections as c using (collection)
where e.collection = ? and e.scoring = ? and list_contains(?, e.feature_id)
order by e.feature_id, e.kind, e.rank"""


@dataclass(frozen=True)
class FeaturePages:
    """The pages of one SAE, or of a layer's neurons."""

    warehouse: Warehouse
    collection: str
    sae: str
    layer: int
    d_sae: int

    def ids(self, wanted: str | Collection[int] = "shown") -> list[int]:
        """Features, ascending.

        Args:
            wanted: ``shown``, those with examples or a labelling; ``selected`` by the latest scoring; ``all`` that were
                counted; or their numbers.

        Raises:
            InputError: a number that the SAE does not have.
        """
        if not isinstance(wanted, str):
            if beyond := sorted(i for i in wanted if not 0 <= i < self.d_sae):
                cure = f"ask for features 0 to {self.d_sae - 1}"
                raise InputError(f"no feature {beyond[0]}", where=self.sae, cure=cure)
            return sorted(set(wanted))
        if wanted == "selected":
            return sorted(self._ids(_SELECTED, self._scoring))
        found = {*self._ids(_SHOWN, self._scoring), *self._labelled.ids}
        if wanted == "all":
            found |= {*self._ids(_SCORED, self._scoring), *self._ids(_COUNTED, self.sae)}
        return sorted(found)

    def read(self, ids: Sequence[int]) -> Iterator[FeaturePage]:
        """The pages of some features, in their order."""
        of_labelling = set(ids) <= set(self._labelled.ids)
        for start in range(0, len(ids), PART):
            yield from self._part(list(ids[start : start + PART]), of_labelling=of_labelling)

    def _part(self, ids: list[int], *, of_labelling: bool) -> Iterator[FeaturePage]:
        scored = {row["feature_id"]: row for row in self._rows(_SCORES, self._scoring, ids)}
        counted = scored if self._scoring else {row["feature_id"]: row for row in self._rows(_STATS, self.sae, ids)}
        examples = by_feature(self._rows(_EXAMPLES, self._scoring, ids))
        published = trusted_explanations(self.warehouse, self.collection, self.sae, ids)
        labelled: LabelledPart = self._labelled.part(ids)
        for feature in ids:
            windows = [row | {"tokens": whole_tokens(row["tokens"])} for row in examples.get(feature, ())]
            values = _counts(counted.get(feature)) | {"groups": example_groups(windows)}
            values |= {name: tuple(scored[feature][name]) for name in LENS} if feature in scored else {}
            values |= labelled.values(feature, counted=of_labelling)
            others = (_published(row) for row in published.get(feature, ()))
            values["descriptions"] = (*values.get("descriptions", ()), *others)
            yield FeaturePage(self.layer, feature, self.sae, **values)

    @cached_property
    def _scoring(self) -> str | None:
        found = rows(self.warehouse, _SCORING, [self.collection, self.sae])
        return found[0]["evaluation"] if found else None

    @cached_property
    def _labelled(self) -> LabelledPages:
        return LabelledPages(self.warehouse, self.collection, self.sae)

    def _ids(self, sql: str, key: str | None) -> list[int]:
        return [row["feature_id"] for row in rows(self.warehouse, sql, [self.collection, key])]

    def _rows(self, sql: str, key: str | None, ids: list[int]) -> list[dict[str, Any]]:
        return rows(self.warehouse, sql, [self.collection, key, ids])


def _counts(row: dict[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {"tokens": TokenCounts(row["n_tokens"]), "active": TokenCounts(row["n_active"])}


def _published(row: dict[str, Any]) -> Description:
    return Description(
        row["description"], row["source"], row["type_name"], row["explainer"], row["score"], row["score_type"]
    )
