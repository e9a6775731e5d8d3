"""Which pairs and features the causal check is made for, and the stage that each is committed under."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ato.errors import LayerError, MismatchError, SettingsError
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage, feature_pair_stages, pair_stages
from tasks.settings import CausalSettings, OperatorSettings
from warehouse.catalog.lookups import SAERow, best_features, sae_rows

SITE = "resid_post"
VERSION = 2
"""2: paired differences of transport and its rivals."""


@dataclass(frozen=True)
class CausalStage:
    """One pair with its stage: whole residuals, or the chosen features of one SAE at its target layer."""

    pair: PairStage
    stage: Stage
    sae: SAERow | None = None
    """None for whole residuals."""
    features: tuple[int, ...] = ()

    @property
    def plan(self) -> tuple[int, tuple[str, ...], str]:
        """Stages of one plan end at the same layer and edit the same things there."""
        return self.pair.target_layer, tuple(self.pair.stage.inputs), self.sae.sae if self.sae else ""


def check_causal(study: Study, operators: OperatorSettings, settings: CausalSettings) -> None:
    """Refuse what cannot be put back: another site, another position's residual, an operator that is not fitted."""
    if study.row.site != SITE:
        raise MismatchError(
            f"only the residual stream ({SITE}) can be replaced, the collection holds {study.row.site}",
            where=study.collection,
            cure=f"collect with collect.site={SITE}, or skip the flow causal",
        )
    if operators.position_policy != "same":
        raise SettingsError(
            f"operators with position policy {operators.position_policy} cannot be patched in at the same position",
            cure="set operators.position_policy=same, or skip the flow causal",
        )
    if settings.method not in operators.methods:
        raise SettingsError(
            f"no {settings.method} operators",
            where="causal.method",
            cure=f"choose from {', '.join(operators.methods)}, or add it to operators.methods",
        )
    if wrong := sorted(set(settings.pairs or ()) - set(operators.pairs)):
        raise LayerError(
            f"no operators for the pairs {wrong}",
            where="causal.pairs",
            cure=f"choose from {operators.pairs}, or add to operators.source_layers and operators.leaps",
        )
    study.check_layers({layer for pair in settings.pairs or () for layer in pair}, where="causal.pairs")


def causal_stages(
    study: Study, sae_keys: Sequence[str], operators: OperatorSettings, settings: CausalSettings
) -> list[CausalStage]:
    """A stage for the whole residuals of each pair, and one for each SAE that the pair ends at."""
    saes = sae_rows(study.warehouse, sae_keys)
    pairs = _pairs(study, saes, operators, settings)
    common = settings.model_dump(include={"method", "n_sequences"})
    own = common | settings.model_dump(include={"positions", "interventions", "seed"})

    def stage(pair: PairStage, slug: str, own: dict[str, Any], *inputs: str) -> Stage:
        return study.stage(
            "causal", f"{slug}-{pair.slug}", settings=own, inputs=[pair.stage.key, *inputs], version=VERSION
        )

    stages = [CausalStage(pair, stage(pair, "residuals", own)) for pair in pairs]
    for sae in saes:
        features = best_features(study.warehouse, study.collection, sae.sae, settings.n_features)
        of_features = common | {"features": features}
        stages += [
            CausalStage(pair, stage(pair, "features", of_features, sae.sae), sae, tuple(features))
            for pair in pairs
            if features and pair.target_layer == sae.layer
        ]
    return stages


def _pairs(
    study: Study, saes: Sequence[SAERow], operators: OperatorSettings, settings: CausalSettings
) -> list[PairStage]:
    """The pairs of the settings that have an operator of the method: by default those that end at an SAE's layer."""
    found = pair_stages(study, operators) + feature_pair_stages(study, operators, [sae.sae for sae in saes])
    ends = {sae.layer for sae in saes}
    return [
        pair
        for pair in found
        if settings.method in pair.methods
        and (pair.target_layer in ends if settings.pairs is None else pair.layers in settings.pairs)
    ]
