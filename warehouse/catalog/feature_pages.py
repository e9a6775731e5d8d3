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
from ato.features.excerpts import Excerpt, Origin
from ato.features.exports.feature_page import Description, ExampleGroup, FeaturePage, TokenCounts
from ato.text.token_texts import whole_characters
from warehouse.catalog.catalog import rows
from warehouse.catalog.labelled_pages import LabelledPages
from warehouse.catalog.lookups import trusted_explanations
from warehouse.storage.warehouse import Warehouse

PART = 500
"""Features whose rows are held at once."""

_SCORING = """select evaluation from latest_evaluations
where kind = 'feature_scores' and is_latest and collection = ? and sae = ?"""
_IDS = {
    "selected": "select feature_id from feature_scores where collection = ? and scoring = ? and selected",
    "shown": "select distinct feature_id from feature_examples where collection = ? and scoring = ?",
    "scored": "select feature_id from feature_scores where collection = ? and scoring = ?",
    "all": "select feature_id from feature_stats where collection = ? and sae = ?",
}
_SCORES = """select feature_id, n_tokens, n_active, top_tokens, top_logits, bottom_tokens, bottom_logits
from feature_scores where collection = ? and scoring = ? and list_contains(?, feature_id)"""
_STATS = """select feature_id, n_tokens, n_active from feature_stats
where collection = ? and sae = ? and list_contains(?, feature_id)"""
_EXAMPLES = """select e.feature_id, e.kind, e.quantile, e.sequence_id, e.position, e.start, e.tokens, e.activations,
    s.document, s.split, c.corpus
from feature_examples as e
inner join sequences as s using (collection, sequence_id)
inner join collections as c using (collection)
where e.collection = ? and e.scoring = ? and list_contains(?, e.feature_id)
order by e.feature_id, e.kind, e.rank"""


@dataclass(frozen=True)
class FeaturePages:
    """The pages of one SAE."""

    warehouse: Warehouse
    collection: str
    sae: str
    layer: int
    d_sae: int | None = None
    """None where it is not known, as of neurons."""

    def ids(self, wanted: str | Collection[int] = "shown") -> list[int]:
        """Features, ascending.

        Args:
            wanted: ``shown``, those with examples or a labelling; ``selected`` by the latest scoring; ``all`` that have
                statistics; or their numbers.

        Raises:
            InputError: a number that the SAE does not have.
        """
        if not isinstance(wanted, str):
            if (largest := max(wanted, default=0)) >= (self.d_sae or largest + 1) or min(wanted, default=0) < 0:
                width = "no such" if self.d_sae is None else f"{self.d_sae:,}"
                raise InputError(f"it has {width} features", where=self.sae, cure=f"ask for 0 to {self.d_sae or 1:d} - 1")
            return sorted(set(wanted))
        if wanted == "all":
            return sorted({*self._ids("all", self.sae), *self._ids("scored", self._scoring), *self._labelled.ids})
        found = self._ids(wanted, self._scoring)
        return sorted({*found, *self._labelled.ids} if wanted == "shown" else found)

    def read(self, ids: Sequence[int]) -> Iterator[FeaturePage]:
        """The pages of some features, in their order."""
        of_labelling = bool(ids) and set(ids) <= set(self._labelled.ids)
        for start in range(0, len(ids), PART):
            yield from self._part(list(ids[start : start + PART]), of_labelling=of_labelling)

    def _part(self, ids: list[int], *, of_labelling: bool) -> Iterator[FeaturePage]:
        scored = _by_feature(self._rows(_SCORES, self._scoring, ids))
        counted = scored or _by_feature(self._rows(_STATS, self.sae, ids))
        examples = _by_feature(self._rows(_EXAMPLES, self._scoring, ids), several=True)
        published = trusted_explanations(self.warehouse, self.collection, self.sae, ids)
        labelled = self._labelled.part(ids)
        for feature in ids:
            own = scored.get(feature, {})
            values = _counts(counted.get(feature)) | {
                name: tuple(own.get(name) or ()) for name in ("top_tokens", "top_logits", "bottom_tokens", "bottom_logits")
            }
            values |= {"groups": _groups(examples.get(feature, ()))}
            values |= labelled.values(feature, of_labelling=of_labelling)
            others = tuple(_published(row) for row in published.get(feature, ()))
            values["descriptions"] = (*values.get("descriptions", ()), *others)
            yield FeaturePage(self.layer, feature, self.sae, **values)

    @cached_property
    def _scoring(self) -> str | None:
        found = rows(self.warehouse, _SCORING, [self.collection, self.sae])
        return found[0]["evaluation"] if found else None

    @cached_property
    def _labelled(self) -> LabelledPages:
        return LabelledPages(self.warehouse, self.collection, self.sae)

    def _ids(self, which: str, key: str | None) -> list[int]:
        return [row["feature_id"] for row in rows(self.warehouse, _IDS[which], [self.collection, key])]

    def _rows(self, sql: str, key: str | None, ids: list[int]) -> list[dict[str, Any]]:
        return rows(self.warehouse, sql, [self.collection, key, ids])


def whole_tokens(tokens: Sequence[str]) -> tuple[str, ...]:
    """Texts of tokens in which a character that several share stands at the first; the others of it are empty.

    >>> whole_tokens(["a", "<0xC3>", "<0xA9>"])
    ('a', 'é', '')
    """
    return tuple(text for piece, own in whole_characters(tokens) for text in (piece, *[""] * (len(own) - 1)))


def _by_feature(found: list[dict[str, Any]], *, several: bool = False) -> dict[int, Any]:
    if not several:
        return {row["feature_id"]: row for row in found}
    grouped: dict[int, list[dict[str, Any]]] = {}
    for row in found:
        grouped.setdefault(row["feature_id"], []).append(row)
    return grouped


def _counts(row: dict[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {"tokens": TokenCounts(row["n_tokens"]), "active": TokenCounts(row["n_active"])}


def _published(row: dict[str, Any]) -> Description:
    names = ("type_name", "explainer", "score", "score_type")
    return Description(row["description"], row["source"], *(row[name] for name in names))


def _groups(examples: Sequence[dict[str, Any]]) -> tuple[ExampleGroup, ...]:
    """Examples by kind; a quantile has a group of its own, from the end of the one below it."""
    ends = [0.0, *sorted({row["quantile"] for row in examples if row["quantile"] is not None})]
    below = dict(zip(ends[1:], ends))
    grouped: dict[tuple[str, float | None], list[Excerpt]] = {}
    for row in examples:
        grouped.setdefault((row["kind"], row["quantile"]), []).append(_excerpt(row))
    return tuple(
        ExampleGroup(kind, tuple(own), None if end is None else below[end], end)
        for (kind, end), own in sorted(grouped.items(), key=lambda item: (item[0][0], item[0][1] or 0.0))
    )


def _excerpt(row: dict[str, Any]) -> Excerpt:
    names = ("corpus", "document", "sequence_id", "position", "start", "split")
    origin = Origin(*(row[name] for name in names), stratum=row.get("stratum"))
    return Excerpt(whole_tokens(row["tokens"]), tuple(row["activations"]), origin)
