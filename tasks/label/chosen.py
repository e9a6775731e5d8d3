"""Which features of an SAE are labelled, in which order, and how much of the whole the first of them cover."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ato.autointerp.label_order import coverage, order_by_size, order_by_verdict
from ato.errors import InputError
from ato.numerics.counter_rng import uniforms
from tasks.settings import LabelSettings
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import SAERow, StudiedRow
from warehouse.storage.warehouse import Warehouse

NAMED = "named"
"""In place of an order: the settings name the features."""
_VALUES = {
    "score": "select feature_id, score as value from latest_feature_scores where collection = $collection and sae = $sae",
    "causal_effect": """select feature_id, causal_effect as value from latest_feature_scores
        where collection = $collection and sae = $sae""",
    "attribution": """with alike as (
            select t.sae from studied_saes as t
            left join saes as s on s.collection = t.collection and s.weights_hash = t.weights_hash and s.layer = t.layer
            where t.collection = $collection and $sae in (t.sae, s.sae)
        )
        select feature_id, abs(gradient_x_activation) as value from feature_attribution semi join alike using (sae)
        where collection = $collection
        qualify row_number() over (partition by feature_id order by sae) = 1""",
    "influence": """select feature_id, influence as value from feature_influence
        where collection = $collection and sae = $sae""",
    "transport": """select feature_id, map_values(r2_by_leap)[1] as value, map_values(verdict_by_leap)[1] as verdict
        from feature_catalog where collection = $collection and sae = $sae""",
}
"""Order -> what it is by, a feature a row."""
_ALIVE = """with counted as (
    select collection, sae, feature_id, n_active from feature_stats
    union all
    select collection, sae, feature_id, n_active from studied_features
)
select feature_id from counted where collection = ? and sae = ? and n_active > 0 order by feature_id"""
_BEFORE = """select feature_id, ordered_by, value, covered from labelled_features
where collection = ? and evidence = ? order by place"""
_LISTED = """select distinct sae, feature_id from list_members
where kind = 'feature' and collection = ? and list = ? order by sae, feature_id"""
_FROM = {
    "score": "`ato run features`",
    "causal_effect": "`ato run features`",
    "attribution": "`ato run sae_study` with this SAE among those that are looked at",
    "influence": "`ato run graphs` with this SAE",
    "transport": "`ato run evaluate`",
}


@dataclass(frozen=True)
class Chosen:
    """Features in the order in which they are labelled; all arrays are [n]."""

    feature_id: np.ndarray
    """int64."""
    ordered_by: str
    value: np.ndarray
    """float64; NaN where a feature has none."""
    covered: np.ndarray
    """Share of the sum of |value| over all features up to each; NaN where values are no effects."""

    @property
    def key(self) -> list[object]:
        """What of them changes the rows that are written."""
        values = [None if np.isnan(value) else float(value) for value in self.value]
        return [self.ordered_by, self.feature_id.tolist(), values]


def choose_features(warehouse: Warehouse, collection: str, row: SAERow | StudiedRow, settings: LabelSettings) -> Chosen:
    """The features of an SAE that are on the list of the settings, or that they name, or the first in their order.

    Features without a value come last; those that never fire on the test split are left out unless they are named.

    Raises:
        InputError: the SAE lacks a feature that is named, or nothing tells the order.
    """
    if settings.list is not None:
        return named_features(
            listed_features(warehouse, collection, settings.list).get(row.sae, ()), row.d_sae, row.sae
        )
    if named := settings.features.get(row.layer):
        return named_features(named, row.d_sae, row.sae)
    alive = np.array([found["feature_id"] for found in rows(warehouse, _ALIVE, [collection, row.sae])], dtype=np.int64)
    if settings.order == "random":
        return draw_features(len(alive), settings.n_features, settings.seed, alive)
    found = rows(warehouse, _VALUES[settings.order], {"collection": collection, "sae": row.sae})
    by_feature = {one["feature_id"]: one for one in found if one["value"] is not None}
    if not by_feature:
        raise InputError(
            f"no feature of the SAE has a value to order by: {settings.order}",
            where=row.sae,
            cure=f"run {_FROM[settings.order]} first, or set label.order=random",
        )
    value = np.array([by_feature.get(int(f), {}).get("value", np.nan) for f in alive], dtype=np.float64)
    if settings.order == "transport":
        order = order_by_verdict([by_feature.get(int(f), {}).get("verdict") for f in alive], alive)
        covered = np.full(len(alive), np.nan)
    else:
        # A score is high or low; effects count by their size, whatever their sign.
        order = order_by_size(value - np.nanmin(value) if settings.order == "score" else value, alive)
        covered = np.full(len(alive), np.nan) if settings.order == "score" else coverage(value, order)
    first = order[: settings.n_features]
    return Chosen(alive[first], settings.order, value[first], covered[: settings.n_features])


def listed_features(warehouse: Warehouse, collection: str, name: str) -> dict[str, list[int]]:
    """Key of an SAE of the collection -> its features on a list, by number.

    Raises:
        InputError: the list has none of the collection, or does not exist.
    """
    found: dict[str, list[int]] = {}
    for row in rows(warehouse, _LISTED, [collection, name]):
        found.setdefault(row["sae"], []).append(row["feature_id"])
    if not found:
        what = f"the list {name!r} has no feature of an SAE of this collection"
        raise InputError(what, where=collection, cure="`ato list` shows all lists, `ato list add` makes one")
    return found


def named_features(named: Sequence[int], n: int, sae: str) -> Chosen:
    """Features that the settings name, of n that there are.

    Raises:
        InputError: the SAE lacks one of them.
    """
    if wrong := [feature for feature in named if feature >= n]:
        raise InputError(f"the SAE has no feature {wrong[0]}", where=sae, cure=f"use features 0 to {n - 1}")
    ids = np.array(named, dtype=np.int64)
    nothing = np.full(len(ids), np.nan)
    return Chosen(ids, NAMED, nothing, nothing)


def draw_features(n: int, n_drawn: int, seed: int, ids: np.ndarray | None = None) -> Chosen:
    """Features drawn at random.

    Args:
        n: number of features.
        n_drawn: of them.
        seed: of the draw.
        ids: [n] their numbers; None counts from 0.
    """
    ids = np.arange(n, dtype=np.int64) if ids is None else ids
    first = np.argsort(uniforms(seed, ids), kind="stable")[:n_drawn]
    nothing = np.full(len(first), np.nan)
    return Chosen(ids[first], "random", nothing, nothing)


def chosen_before(warehouse: Warehouse, collection: str, evidence: str) -> Chosen:
    """The features of an evidence that is complete, in their order."""
    found = rows(warehouse, _BEFORE, [collection, evidence])
    value, covered = (
        np.array([np.nan if row[name] is None else row[name] for row in found], dtype=np.float64)
        for name in ("value", "covered")
    )
    ids = np.array([row["feature_id"] for row in found], dtype=np.int64)
    return Chosen(ids, found[0]["ordered_by"] if found else "random", value, covered)


def chosen_columns(chosen: Chosen) -> dict[str, Any]:
    """Columns of ``labelled_features`` that say why a feature is labelled, and when."""
    null = [
        [None if np.isnan(number) else float(number) for number in array] for array in (chosen.value, chosen.covered)
    ]
    n = len(chosen.feature_id)
    return {
        "feature_id": chosen.feature_id.astype(np.int32),
        "place": np.arange(1, n + 1, dtype=np.int32),
        "ordered_by": [chosen.ordered_by] * n,
        "value": null[0],
        "covered": null[1],
    }
