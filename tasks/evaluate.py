"""Stage ``evaluate``: features, ranks, amount of data and composition of all pairs, in one pass over the test tokens."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.residuals import Consumer, share_pass
from tasks.feature_evaluation import FeatureEvaluation
from tasks.map_evaluation import MapEvaluation
from tasks.models import check_layers
from tasks.moments import StudyMoments, load_moments, paired_source
from tasks.pairs import feature_pair_stages, pair_stages
from tasks.progress import Progress, say
from tasks.rank_evaluation import RankEvaluation
from tasks.saes import place_of_saes
from tasks.settings import EvaluateSettings, ModelSettings, OperatorSettings
from tasks.sources import collection_row
from tasks.stage import Stage, checked_together, one_at_a_time
from warehouse.store import Warehouse


class Evaluation(Protocol):
    """One kind of evaluation: its stages, what it accumulates over the test tokens, and how it commits."""

    @property
    def stages(self) -> Sequence[Stage]:
        """All of its stages, complete or not."""
        ...

    def consumers(self, moments: StudyMoments, row: dict[str, Any]) -> Sequence[Consumer]:
        """Accumulators of the stages that are not complete, for the shared pass."""
        ...

    def commit(self, on_stage: Callable[[], None]) -> None:
        """Write and commit those stages, after the pass."""
        ...


@task(name="evaluate", cache_policy=NO_CACHE)
@one_at_a_time
def evaluate_operators(
    collection: str, sae_keys: list[str], model: ModelSettings, operators: OperatorSettings, settings: EvaluateSettings
) -> None:
    """Judge all pairs and features that have no scores yet, in one pass over the test tokens."""
    warehouse = Warehouse()
    pairs = pair_stages(warehouse, collection, operators, settings)
    for_features = feature_pair_stages(warehouse, collection, operators, settings, sae_keys)
    evaluations: list[Evaluation] = [
        FeatureEvaluation(warehouse, collection, sae_keys, [*pairs, *for_features], settings, place_of_saes(model)),
        RankEvaluation(warehouse, pairs, operators, settings),
        MapEvaluation(warehouse, pairs, operators, settings),
    ]
    stages = [stage for evaluation in evaluations for stage in evaluation.stages]
    missing = [stage for stage in stages if not stage.complete]
    if len(missing) < len(stages):
        say("evaluate", f"{len(stages) - len(missing)} of {len(stages)} evaluations are complete, skipped")
    if not missing:
        return
    row = collection_row(warehouse, collection)
    check_layers(operators.layers, tuple(row["layers"]), where=collection)
    moments = load_moments(warehouse, collection, operators)
    consumers = [c for evaluation in evaluations for c in evaluation.consumers(moments, row)]
    source = paired_source(warehouse, row, model, operators)
    n_test = moments.own.variation(operators.pairs[0][1], ["test"])[0]
    with Progress("evaluate", n_test, "test tokens") as progress:
        share_pass(source, consumers, splits=["test"], on_block=lambda block: progress.advance(block.n))
    with Progress("evaluate", len(missing), "evaluations") as progress, checked_together():
        for evaluation in evaluations:
            evaluation.commit(progress.advance)
