"""What is known of the features of a graph: what they promote, what others say of them, and examples."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

from ato.graphs.feature_panels import FeaturePanel, PanelExample
from tasks.graphs.stages import ReadDictionary
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

PROMOTED = 4
"""Promoted tokens of a label."""
_SCORES = """select feature_id, top_tokens, bottom_tokens, activation_rate from latest_feature_scores
where collection = ? and sae = ? and list_contains(?, feature_id)"""
_EXAMPLES = """select e.feature_id, e.kind, e.tokens, e.activations, e.position - e.start as peak
from feature_examples as e
semi join (select distinct collection, sae, scoring from latest_feature_scores) as s using (collection, sae, scoring)
where e.collection = ? and e.sae = ? and list_contains(?, e.feature_id) order by e.feature_id, e.kind, e.rank"""
_EXPLAINED = """select feature_id, description from explanations
where collection = ? and sae = ? and aligned and list_contains(?, feature_id) order by score desc nulls last"""
_GROUPS = {"top": "Top activations", "quantile": "By quantile", "random": "Random activations"}


@dataclass(frozen=True)
class FeatureFacts:
    """What the tables say of features, read when it is asked for."""

    warehouse: Warehouse
    collection: str
    dictionaries: tuple[ReadDictionary, ...]

    @cached_property
    def _of(self) -> dict[int, ReadDictionary]:
        return {one.layer: one for one in self.dictionaries}

    def labels(self, features: Collection[tuple[int, int]]) -> dict[tuple[int, int], str]:
        """(layer, feature) -> a published explanation that fits, else what it promotes; without those it has none."""
        found: dict[tuple[int, int], str] = {}
        for layer, ids in _by_layer(features):
            for row in self._rows(_SCORES, layer, ids):
                if row["top_tokens"]:
                    found[layer, row["feature_id"]] = "promotes " + " ".join(
                        repr(token) for token in row["top_tokens"][:PROMOTED]
                    )
            for row in reversed(self._rows(_EXPLAINED, layer, ids)):
                found[layer, row["feature_id"]] = row["description"]
        return found

    def panels(self, features: Collection[tuple[int, int]]) -> Iterator[FeaturePanel]:
        """One of each feature, empty where nothing is known."""
        for layer, ids in _by_layer(features):
            scores = {row["feature_id"]: row for row in self._rows(_SCORES, layer, ids)}
            examples: dict[int, dict[str, list[PanelExample]]] = {}
            for row in self._rows(_EXAMPLES, layer, ids):
                one = PanelExample(tuple(row["tokens"]), tuple(row["activations"]), row["peak"])
                examples.setdefault(row["feature_id"], {}).setdefault(_GROUPS[row["kind"]], []).append(one)
            for feature in ids:
                known = scores.get(feature, {"top_tokens": [], "bottom_tokens": [], "activation_rate": 0.0})
                groups = {name: tuple(found) for name, found in examples.get(feature, {}).items()}
                lens = tuple(known["top_tokens"]), tuple(known["bottom_tokens"])
                yield FeaturePanel(layer, feature, groups, *lens, known["activation_rate"])

    def _rows(self, query: str, layer: int, ids: list[int]) -> list[dict]:
        return rows(self.warehouse, query, [self.collection, self._of[layer].key, ids])


def _by_layer(features: Collection[tuple[int, int]]) -> list[tuple[int, list[int]]]:
    layers = sorted({layer for layer, _ in features})
    return [(layer, sorted({feature for at, feature in features if at == layer})) for layer in layers]
