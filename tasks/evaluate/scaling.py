"""How a pair's map grows with the amount of data, and whether it is made of shorter ones: ``scaling``, ``compositions``."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ato.evaluation.residual_formulas import ResidualScore
from ato.evaluation.residual_scores import PairScores
from ato.moments.moments import Moments
from ato.moments.token_groups import TokenGroups
from ato.operators import TransportOperator
from ato.operators.methods import METHODS
from ato.operators.scaling import ScalingFit, scaling_fits
from ato.residuals import Consumer
from tasks.collect.moments import StudyMoments
from tasks.engine.columns import estimate_columns
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage
from tasks.settings import OperatorSettings
from warehouse.catalog.catalog import rows

TRAIN_DOCUMENTS = "select distinct document, fold from sequences where collection = ? and split = 'train'"


class MapEvaluation:
    """Scaling and composition of every pair that ends at one of the targets, scored together on the test tokens.

    Args:
        pairs: all of the study: halves of compositions end elsewhere.
        targets: layers.
    """

    def __init__(self, study: Study, pairs: Sequence[PairStage], operators: OperatorSettings, targets: Collection[int]):
        self._study, self._operators = study, operators
        self._pairs = {pair.layers: pair for pair in pairs}
        fitted = [method for method in operators.methods if not METHODS[method].baseline]
        self._method = "ridge" if "ridge" in fitted else fitted[0] if fitted else None
        own = {"train_fractions": operators.train_fractions, "method": self._method}
        self._stages = {
            layers: study.stage("evaluate", f"map-{pair.slug}", settings=own, inputs=self._inputs(layers), version=2)
            for layers, pair in self._pairs.items()
            if layers[1] in targets and (operators.train_fractions or self._middles(layers))
        }
        self._shares: dict[tuple[int, int], list[dict[str, Any]]] = {}
        self._distances: dict[tuple[int, int], dict[int, float]] = {}
        self._scores: dict[tuple[int, int], PairScores] = {}

    @property
    def stages(self) -> Sequence[tuple[int, Stage]]:
        """Target layer and stage, one a pair that has anything to tell."""
        return [(target, stage) for (_, target), stage in self._stages.items()]

    def _middles(self, layers: tuple[int, int]) -> list[int]:
        """Layers between source and target over which two fitted operators lead; they compose for equal positions only."""
        if self._method is None or self._operators.position_policy != "same":
            return []
        source, target = layers
        return [m for s, m in self._pairs if s == source and (m, target) in self._pairs]

    def _inputs(self, layers: tuple[int, int]) -> list[str]:
        halves = (key for middle in self._middles(layers) for key in self._halves(layers, middle))
        return [self._pairs[layers].stage.key, *halves]

    def _halves(self, layers: tuple[int, int], middle: int) -> list[str]:
        source, target = layers
        return [self._pairs[half].stage.key for half in ((source, middle), (middle, target))]

    def consumers(self, moments: StudyMoments) -> list[Consumer]:
        """One accumulator a pair: its operators of all shares of the data, the direct one and the composed ones."""
        documents = self._train_documents(moments.own)
        for layers, stage in self._stages.items():
            if stage.complete:
                continue
            pair = self._pairs[layers]
            fractions = self._operators.train_fractions
            fits = (
                scaling_fits(moments.own, *pair.keys, fractions, "ridge", self._operators.alphas) if fractions else []
            )
            operators = {f"share {fit.fraction}": fit.operator for fit in fits}
            composed = {middle: self._compose(layers, middle) for middle in self._middles(layers)}
            if composed:
                operators["direct"] = direct = pair.load(str(self._method))
                operators |= {f"over {middle}": operator for middle, operator in composed.items()}
                self._distances[layers] = {m: _distance(direct.matrix, map_.matrix) for m, map_ in composed.items()}
            n_all = moments.own.variation(pair.keys[1], moments.own.train_share(1))[0]
            self._shares[layers] = [_share(fit, n_all, documents) for fit in fits]
            # The operators themselves are not kept: there are dozens a pair.
            self._scores[layers] = PairScores(moments.own, *pair.keys, operators, whitened=False, single=True)
        return list(self._scores.values())

    def _train_documents(self, moments: Moments) -> dict[float, int]:
        """Share of the train documents asked for -> documents that it rests on; 1 is among them."""
        found = rows(self._study.warehouse, TRAIN_DOCUMENTS, [self._study.collection])
        document, fold = (np.array([row[name] for row in found], dtype=np.int64) for name in ("document", "fold"))
        groups = TokenGroups(moments.n_folds, moments.cuts)
        group = groups.of_rows(len(found), fold=fold, document=document)
        shares = {*self._operators.train_fractions, 1.0}
        return {share: int(np.isin(group, groups.codes(groups.train_share(share))).sum()) for share in shares}

    def _compose(self, layers: tuple[int, int], middle: int) -> TransportOperator:
        source, target = layers
        first, second = self._pairs[source, middle], self._pairs[middle, target]
        return first.load(str(self._method)).composed_with(second.load(str(self._method)))

    def commit(self, on_stage: Callable[[], None]) -> None:
        """Write the two tables of each pair."""
        for layers in [*self._scores]:
            scores = self._scores.pop(layers)
            pair, stage = self._pairs[layers], self._stages[layers]
            shared = {"collection": stage.collection, "evaluation": stage.key, **pair.policy_columns}
            results = scores.result()
            with stage:
                if self._shares[layers]:
                    stage.write("scaling", [shared | row for row in self._scaling_rows(layers, results)])
                if layers in self._distances:
                    rows = self._composition_rows(layers, scores, results)
                    stage.write("compositions", [shared | row for row in rows])
            on_stage()

    def _scaling_rows(self, layers: tuple[int, int], results: Mapping[str, ResidualScore]) -> list[dict[str, Any]]:
        found = []
        for share in self._shares[layers]:
            score = results[f"share {share['fraction_asked']}"]
            found.append(
                share
                | {
                    "n_test": score.n,
                    "n_test_documents": score.n_documents,
                    **estimate_columns(r2=score.r2, r2_weighted=score.r2_weighted),
                }
            )
        return found

    def _composition_rows(
        self, layers: tuple[int, int], scores: PairScores, results: Mapping[str, ResidualScore]
    ) -> list[dict[str, Any]]:
        found = []
        for middle, distance in self._distances[layers].items():
            lost = scores.difference("direct", f"over {middle}", "r2_weighted")
            score = results[f"over {middle}"]
            found.append(
                {
                    "middle_layer": middle,
                    "method": self._method,
                    "n_test": score.n,
                    "n_test_documents": score.n_documents,
                    **estimate_columns(
                        r2_direct=results["direct"].r2_weighted, r2_composed=score.r2_weighted, r2_lost=lost
                    ),
                    "relative_distance": distance,
                }
            )
        return found


def _share(fit: ScalingFit, n_all: int, documents: Mapping[float, int]) -> dict[str, Any]:
    """The columns of a fit that no test token is needed for.

    Args:
        n_all: tokens of all train documents.
        documents: share asked for -> train documents.
    """
    n_documents = documents[fit.fraction]
    return {
        "method": "ridge",
        "fraction_asked": fit.fraction,
        "fraction": fit.n_train / n_all,
        "fraction_documents": n_documents / documents[1.0],
        "n_train": fit.n_train,
        "n_train_documents": n_documents,
        "alpha": fit.alpha,
        "r2_val": fit.r2_val,
    }


def _distance(direct: np.ndarray, composed: np.ndarray) -> float:
    """Frobenius distance as a share of the first matrix's norm; 0 for two matrices of zeros."""
    norm = float(np.linalg.norm(direct))
    return float(np.linalg.norm(direct - composed)) / norm if norm else float(composed.any())
