"""Flow ``compare``: which features other models, or other checkpoints, carry otherwise on the same text."""

from typing import Any

from flows.engine.fan_out import fan_out
from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of, run_stages
from flows.engine.stage_run import conclude, stage_run
from flows.judging.judge import judge
from flows.settings import Settings
from flows.stages import stages_of
from flows.study_flow import study_flow
from tasks.collect.task import gather_missing_moments
from tasks.compare.stages import CompareStudy, compared_models, only_method, settings_of_collection
from tasks.compare.task import compare_collections
from tasks.engine.study import Study
from tasks.settings import ModelSettings


@study_flow("compare")
def compare(
    settings: Settings = DEMO,
    collection: str | None = None,
    sae_keys: list[str] | None = None,
    pair_keys: list[str] | None = None,
) -> list[str]:
    """Collect what is compared, fit its operators, compare; returns a key per other collection, in order."""
    judge(settings, "compare", only_stage=True)
    models = compared_models(settings.model, settings.compare)
    finished = {key: settings_of_collection(settings.model, key) for key in settings.compare.collections}
    given = {"collection": collection, "sae_keys": sae_keys, "pair_keys": pair_keys}
    collection, sae_keys, _ = inputs_of("compare", settings, **given)
    others = [_study(settings, model) for model in models]
    others += [_study(settings, model, key) for key, model in finished.items()]
    with stage_run("compare", settings, collection), fan_out(settings) as parts:
        study = settings.study(collection)
        of = CompareStudy(study, tuple(others), tuple(sae_keys), settings.operators, settings.compare)
        keys = compare_collections(study, of, settings.evaluate, parts)
    conclude("compare", settings, collection)
    return keys


def _study(settings: Settings, model: ModelSettings, collection: str | None = None) -> Study:
    """Another study with the same settings, collected where no collection is given, its operators fitted."""
    operators = only_method(settings.operators, settings.compare.method)
    other = settings.model_copy(update={"model": model, "operators": operators})
    keys: dict[str, Any] = {"collection": collection}
    if collection is not None:
        # It may have been made for operators of other pairs, or with other moments than are needed here.
        with fan_out(other) as parts:
            gather_missing_moments(other.study(collection), operators, parts)
    run_stages(stages_of("operators", other), other, keys)
    return other.study(keys["collection"])
