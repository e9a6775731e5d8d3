"""Stage ``evaluate``: features, ranks, amount of data and composition of all pairs, in one pass over the test tokens."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from ato.numerics.freed_memory import return_freed_memory
from ato.residuals import Consumer, run_pass
from ato.residuals.position_policies import parse_policy, source_key
from tasks.collect.moments import StudyMoments, load_moments, paired_source
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.parallel_parts import part_task, run_parts, split_by_size
from tasks.engine.progress import Progress, phase, say
from tasks.engine.stage import Stage, checked_together
from tasks.engine.study import Study
from tasks.evaluate.efficiency import RankEvaluation
from tasks.evaluate.feature_transport import FeatureEvaluation
from tasks.evaluate.scaling import MapEvaluation
from tasks.operators.pairs import feature_pair_stages, pair_stages
from tasks.settings import EvaluateSettings, OperatorSettings


class Evaluation(Protocol):
    """One kind of evaluation: its stages, what it accumulates over the test tokens, and how it commits."""

    @property
    def stages(self) -> Sequence[tuple[int, Stage]]:
        """All of its stages, complete or not, each with the target layer of its pair."""
        ...

    def consumers(self, moments: StudyMoments) -> Sequence[Consumer]:
        """Accumulators of the stages that are not complete, for the shared pass; the moments are not kept."""
        ...

    def commit(self, on_stage: Callable[[], None]) -> None:
        """Write and commit those stages, after the pass."""
        ...


@stage_task("evaluate")
@one_at_a_time("evaluate")
def evaluate_operators(
    study: Study, sae_keys: list[str], operators: OperatorSettings, settings: EvaluateSettings, parts: int = 1
) -> None:
    """Judge all pairs and features that have no scores yet, in one pass over the test tokens.

    Args:
        parts: tasks that share the target layers, each with a pass of its own; 1 does all of it here.
    """
    targets = {target for _, target in operators.pairs}
    evaluations = _evaluations(study, sae_keys, operators, settings, targets)
    stages = [stage for evaluation in evaluations for stage in evaluation.stages]
    missing = Counter(target for target, stage in stages if not stage.complete)
    if missing.total() < len(stages):
        say("evaluate", f"{len(stages) - missing.total()} of {len(stages)} evaluations are complete, skipped")
    if missing and parts > 1:
        run_parts("evaluate", evaluate_share, split_by_size(missing, parts), study, sae_keys, operators, settings)
    elif missing:
        _judge(evaluations, missing, study, operators)


@part_task("evaluate, part")
def evaluate_share(
    targets: list[int], study: Study, sae_keys: list[str], operators: OperatorSettings, settings: EvaluateSettings
) -> None:
    """All that ends at these layers: an encoding by their SAEs serves all operators that end there."""
    evaluations = _evaluations(study, sae_keys, operators, settings, targets)
    stages = [stage for evaluation in evaluations for stage in evaluation.stages]
    if missing := Counter(target for target, stage in stages if not stage.complete):
        _judge(evaluations, missing, study, operators)


def _evaluations(
    study: Study,
    sae_keys: list[str],
    operators: OperatorSettings,
    settings: EvaluateSettings,
    targets: Collection[int],
) -> list[Evaluation]:
    """All kinds of evaluation, for the pairs that end at these layers."""
    pairs = pair_stages(study, operators)
    for_features = feature_pair_stages(study, operators, sae_keys)
    ending, all_ending = (
        [pair for pair in found if pair.target_layer in targets] for found in (pairs, [*pairs, *for_features])
    )
    return [
        FeatureEvaluation(study, sae_keys, all_ending, settings),
        RankEvaluation(study, ending, operators, settings.ranks),
        MapEvaluation(study, pairs, operators, targets),
    ]


def _judge(evaluations: Sequence[Evaluation], missing: Counter[int], study: Study, operators: OperatorSettings) -> None:
    """One pass over the test tokens, then the results.

    Args:
        missing: target layer -> stages without results.
    """
    study.check_layers(operators.layers)
    pairs, policy = [pair for pair in operators.pairs if pair[1] in missing], parse_policy(operators.position_policy)
    layers = {key for pair in pairs for key in (source_key(*pair, policy), pair[1])}
    with phase("evaluate", "preparing ceilings and operators"):
        moments = load_moments(study, operators, pairs)
        consumers = [c for evaluation in evaluations for c in evaluation.consumers(moments)]
    source = paired_source(study, operators)
    n_test = moments.own.variation(pairs[0][1], ["test"])[0]
    del moments  # nothing more is asked of them, and they are as large as what the pass needs
    return_freed_memory()
    with Progress("evaluate", n_test, "test tokens") as progress:
        run_pass(
            source, consumers, layers=sorted(layers), splits=["test"], on_block=lambda block: progress.advance(block.n)
        )
    del consumers  # each evaluation lets go of its own when it has committed them
    with Progress("evaluate", missing.total(), "evaluations") as progress, checked_together():
        for evaluation in evaluations:
            evaluation.commit(progress.advance)
