"""Which pairs and features are followed, and the stage that each pair is committed under."""

from collections.abc import Sequence
from dataclasses import dataclass

from ato.errors import MismatchError, SettingsError
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage, feature_pair_stages, pair_stages
from tasks.settings import EvaluateSettings, FateSettings, OperatorSettings
from warehouse.catalog.lookups import SAERow, best_features, sae_rows

SITE = "resid_post"
JUDGING = {"min_active", "transported_above", "computed_below"}


@dataclass(frozen=True)
class FatePlan:
    """The settings that decide what is followed, and how it is judged."""

    operators: OperatorSettings
    evaluate: EvaluateSettings
    """Of its verdicts."""
    own: FateSettings


@dataclass(frozen=True)
class FateStage:
    """One SAE and one pair that ends at its layer."""

    pair: PairStage
    sae: SAERow
    source: SAERow | None
    """The SAE at the source layer, the first of several; None: there is none."""
    features: tuple[int, ...]
    """Those that are ablated."""
    stage: Stage


def check_plan(study: Study, plan: FatePlan) -> None:
    """Refuse what cannot be ablated: another site, another position's residual, an operator that is not fitted."""
    if study.row.site != SITE:
        raise MismatchError(
            f"only features of the residual stream ({SITE}) are followed, the collection holds {study.row.site}",
            where=study.collection,
            cure=f"collect with collect.site={SITE}",
        )
    if plan.operators.position_policy != "same":
        raise SettingsError(
            f"operators with position policy {plan.operators.position_policy} predict no change at the same position",
            cure="set operators.position_policy=same",
        )
    if plan.own.method not in plan.operators.methods:
        raise SettingsError(
            f"no {plan.own.method} operators",
            where="fate.method",
            cure=f"choose from {', '.join(plan.operators.methods)}, or add it to operators.methods",
        )


def fate_stages(study: Study, sae_keys: Sequence[str], plan: FatePlan) -> list[FateStage]:
    """A stage for each SAE and pair that ends at its layer."""
    saes = sae_rows(study.warehouse, sae_keys)
    pairs = [
        pair
        for pair in pair_stages(study, plan.operators) + feature_pair_stages(study, plan.operators, sae_keys)
        if plan.own.method in pair.methods
    ]
    found = []
    for sae in saes:
        features = best_features(study.warehouse, study.collection, sae.sae, plan.own.n_features)
        own = plan.own.model_dump(exclude={"batch_size", "n_features"}) | {"features": features}
        own |= plan.evaluate.model_dump(include=JUDGING)
        for pair in (pair for pair in pairs if pair.target_layer == sae.layer):
            source = next((one for one in saes if one.layer == pair.source_layer), None)
            inputs = [pair.stage.key, sae.sae, *([] if source is None else [source.sae])]
            stage = study.stage("fate", f"fate-{pair.slug}", settings=own, inputs=inputs)
            found.append(FateStage(pair, sae, source, tuple(features), stage))
    return found
