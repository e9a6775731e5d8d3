"""Stage ``causal``: what putting transported residuals back into the running model costs, on held-out text."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.causal.interventions import FeatureEdits, PositionSet, ResidualEdits
from ato.errors import LayerError, MismatchError, SettingsError
from ato.numerics.bootstrap import number_or_none
from ato.operators import TransportOperator
from ato.residuals.exclusion import ExclusionPolicy
from tasks.collect.sources import collection_row
from tasks.engine.columns import estimate_columns
from tasks.engine.model_cache import check_layers, check_same_model, language_model
from tasks.engine.progress import Progress, say
from tasks.engine.stage import Stage, checked_together, one_at_a_time
from tasks.features.task import selected_features
from tasks.operators.pairs import PairStage, feature_pair_stages, pair_stages
from tasks.saes.task import load_judged_sae, sae_rows, spread
from tasks.settings import CausalSettings, EvaluateSettings, ModelSettings, OperatorSettings
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from ato.causal.effects import Effect
    from ato.causal.interventions import Intervention
    from ato.causal.losses import CausalLosses, EditLosses

SITE = "resid_post"


@dataclass(frozen=True)
class CausalUnit:
    """One pair with its stage: whole residuals, or the chosen features of one SAE at its target layer."""

    pair: PairStage
    stage: Stage
    sae: dict[str, Any] | None = None
    """The SAE's row in the table ``saes``; None for whole residuals."""
    features: tuple[int, ...] = ()

    @property
    def plan(self) -> tuple[int, tuple[str, ...], str]:
        """Units of one plan end at the same layer and edit the same things there."""
        return self.pair.target_layer, tuple(self.pair.stage.inputs), self.sae["sae"] if self.sae else ""


@task(name="causal", cache_policy=NO_CACHE)
@one_at_a_time("causal")
def measure_causal(
    collection: str,
    sae_keys: list[str],
    model: ModelSettings,
    operators: OperatorSettings,
    evaluate: EvaluateSettings,
    settings: CausalSettings,
) -> None:
    """Run the model on test sequences with every edit of the settings, for the pairs that were not measured yet."""
    warehouse = Warehouse()
    row = collection_row(warehouse, collection)
    _check(row, operators, settings)
    saes = sae_rows(warehouse, sae_keys)
    pairs = _pairs(warehouse, collection, saes, operators, evaluate, settings)
    units = _units(warehouse, collection, pairs, saes, evaluate, settings)
    missing = [unit for unit in units if not unit.stage.complete]
    if not units:
        say("causal", "no pair of layers ends at the layer of an SAE: name pairs in causal.pairs")
    elif len(missing) < len(units):
        say("causal", f"{len(units) - len(missing)} of {len(units)} measurements are complete, skipped")
    if missing:
        _measure(warehouse, missing, row, model, evaluate, settings)


def _check(row: dict[str, Any], operators: OperatorSettings, settings: CausalSettings) -> None:
    """Refuse what cannot be put back: another site, another position's residual, an operator that is not fitted."""
    if row["site"] != SITE:
        raise MismatchError(
            f"only the residual stream ({SITE}) can be replaced, the collection holds {row['site']}",
            where=row["collection"],
            cure=f"collect with collect.site={SITE}, or leave the flow causal out",
        )
    if operators.position_policy != "same":
        raise SettingsError(
            f"operators of the position policy {operators.position_policy} cannot be put back at the same position",
            cure="set operators.position_policy=same, or leave the flow causal out",
        )
    if settings.method not in operators.methods:
        raise SettingsError(
            f"no {settings.method} operators are fitted",
            where="causal.method",
            cure=f"choose from {', '.join(operators.methods)}, or add it to operators.methods",
        )
    if wrong := sorted(set(settings.pairs or ()) - set(operators.pairs)):
        raise LayerError(
            f"no operator is fitted for the pairs {wrong}",
            where="causal.pairs",
            cure=f"choose from {operators.pairs}, or add to operators.source_layers and operators.leaps",
        )
    check_layers({layer for pair in settings.pairs or () for layer in pair}, tuple(row["layers"]), where="causal.pairs")


def _pairs(
    warehouse: Warehouse,
    collection: str,
    saes: Sequence[dict[str, Any]],
    operators: OperatorSettings,
    evaluate: EvaluateSettings,
    settings: CausalSettings,
) -> list[PairStage]:
    """The pairs of the settings that have an operator of the method: by default those that end at an SAE's layer."""
    found = pair_stages(warehouse, collection, operators, evaluate)
    found += feature_pair_stages(warehouse, collection, operators, evaluate, [sae["sae"] for sae in saes])
    ends = {sae["layer"] for sae in saes}
    return [
        pair
        for pair in found
        if settings.method in pair.methods
        and (pair.target_layer in ends if settings.pairs is None else pair.layers in settings.pairs)
    ]


def _units(
    warehouse: Warehouse,
    collection: str,
    pairs: Sequence[PairStage],
    saes: Sequence[dict[str, Any]],
    evaluate: EvaluateSettings,
    settings: CausalSettings,
) -> list[CausalUnit]:
    common = settings.model_dump(include={"method", "n_sequences"})
    common |= {"n_bootstrap": evaluate.n_bootstrap, "bootstrap_seed": evaluate.bootstrap_seed}
    own = common | settings.model_dump(include={"positions", "interventions", "seed"})

    def stage(pair: PairStage, slug: str, own: dict[str, Any], *inputs: str) -> Stage:
        return Stage(
            warehouse,
            "causal",
            f"{slug}-{pair.slug}",
            settings=own,
            inputs=[pair.stage.key, *inputs],
            collection=collection,
        )

    units = [CausalUnit(pair, stage(pair, "residuals", own)) for pair in pairs]
    for sae in saes:
        features = best_features(warehouse, collection, sae["sae"], settings.n_features)
        units += [
            CausalUnit(pair, stage(pair, "features", common | {"features": features}, sae["sae"]), sae, tuple(features))
            for pair in pairs
            if features and pair.target_layer == sae["layer"]
        ]
    return units


def best_features(warehouse: Warehouse, collection: str, sae: str, n: int) -> list[int]:
    """The first ``n`` selected features of an SAE; where none were selected, the most active ones."""
    if chosen := selected_features(warehouse, collection, sae)[:n].tolist():
        return chosen
    found = rows(
        warehouse,
        """select feature_id from feature_stats where collection = ? and sae = ? and n_active > 0
        order by n_active desc, feature_id limit ?""",
        [collection, sae, n],
    )
    return [row["feature_id"] for row in found]


def _measure(
    warehouse: Warehouse,
    units: Sequence[CausalUnit],
    row: dict[str, Any],
    model: ModelSettings,
    evaluate: EvaluateSettings,
    settings: CausalSettings,
) -> None:
    from ato.causal.losses import causal_losses, full_length_sequences

    check_same_model(row, model)
    positions = [PositionSet.parse(text) for text in settings.positions]
    held_out = stored_sequences(warehouse, row["collection"], splits=["test"])
    full = full_length_sequences(held_out, row["seq_len"], positions)
    sequences = spread(full, settings.n_sequences)
    shorter = f", {len(held_out) - len(full)} shorter ones left out" if len(full) < len(held_out) else ""
    say("causal", f"{len(units)} measurements on {len(sequences)} of {len(full)} full-length test sequences{shorter}")
    plans: dict[tuple, list[CausalUnit]] = {}
    for unit in units:
        plans.setdefault(unit.plan, []).append(unit)
    lm = language_model(model)
    edits = [_edits(warehouse, of, row, settings, positions, lm.device) for of in plans.values()]
    rules = json.loads(row["settings"])
    policy = ExclusionPolicy(rules["skip_special"], rules["skip_first"], rules["max_norm_multiple"])
    with Progress("causal", len(sequences), "sequences") as progress:
        losses = causal_losses(
            lm,
            edits,
            sequences,
            batch_size=settings.batch_size,
            policy=policy,
            median_norm=dict(zip(row["layers"], row["median_norm"])),
            on_sequence=progress.advance,
        )
    with checked_together():
        for i, of in enumerate(plans.values()):
            _commit(of, losses, i, row["seq_len"], evaluate, settings)


def _edits(
    warehouse: Warehouse,
    units: Sequence[CausalUnit],
    row: dict[str, Any],
    settings: CausalSettings,
    positions: Sequence[PositionSet],
    device: Any,
) -> ResidualEdits | FeatureEdits:
    """The edits of one plan, with the operators of its pairs."""
    operators = {unit.pair.source_layer: _operator(unit.pair, settings.method, row) for unit in units}
    layer, sae = units[0].pair.target_layer, units[0].sae
    if sae is None:
        return ResidualEdits(layer, operators, positions, settings.interventions, settings.seed)
    return FeatureEdits(layer, operators, load_judged_sae(warehouse, sae).to(device), units[0].features)


def _operator(pair: PairStage, method: str, row: dict[str, Any]) -> TransportOperator:
    operator = pair.load(method)
    operator.check_model(row["weights_hash"])
    operator.check_pair(pair.source_layer, pair.target_layer)
    return operator


def _commit(
    units: Sequence[CausalUnit],
    losses: "CausalLosses",
    plan: int,
    seq_len: int,
    evaluate: EvaluateSettings,
    settings: CausalSettings,
) -> None:
    """Write the rows of one plan, pair by pair: what needs no source layer stands in the rows of every pair."""
    from ato.causal.effects import causal_effects

    edits = losses.with_unedited(plan)
    effects = causal_effects(edits, losses.log_ppl, losses.document, evaluate.bootstrap)
    for unit in units:
        own = [edit for edit in edits if edit.source_layer in (None, unit.pair.source_layer)]
        keys = {
            "collection": unit.stage.collection,
            "evaluation": unit.stage.key,
            **unit.pair.columns,
            "method": settings.method,
        }
        with unit.stage as stage:
            operator = {"operator": unit.pair.operator_key(settings.method)}
            stage.write(
                "causal_perplexity",
                [keys | operator | row for edit in own for row in _sequences(edit, edits[edit], losses)],
            )
            stage.write("causal_effects", [keys | _effect(edit, effects[edit]) for edit in own])
            stage.tokens_run = len(losses.log_ppl) * seq_len
    _announce(units, effects)


def _name(edit: "Intervention") -> dict[str, Any]:
    return {"intervention": edit.name, "positions": edit.positions, "feature_id": edit.feature_id}


def _sequences(edit: "Intervention", of: "EditLosses", losses: "CausalLosses") -> list[dict[str, Any]]:
    """Rows of ``causal_perplexity`` of one edit."""
    return [
        _name(edit)
        | {
            "sequence_id": int(losses.sequence_id[i]),
            "document": int(losses.document[i]),
            "n_edited": int(of.n_edited[i]),
            "log_ppl": float(of.log_ppl[i]),
            "log_ppl_edited_onwards": number_or_none(of.log_ppl_edited_onwards[i]),
            "kl": number_or_none(of.kl[i]),
        }
        for i in range(len(losses.sequence_id))
    ]


def _effect(edit: "Intervention", effect: "Effect") -> dict[str, Any]:
    """Row of ``causal_effects`` of one edit."""
    return {
        **_name(edit),
        "n_sequences": effect.n_sequences,
        "n_documents": effect.n_documents,
        **estimate_columns(
            log_ppl=effect.log_ppl,
            delta_log_ppl=effect.delta_log_ppl,
            delta_edited_onwards=effect.delta_edited_onwards,
            kl=effect.kl,
        ),
    }


def _announce(units: Sequence[CausalUnit], effects: Mapping["Intervention", "Effect"]) -> None:
    """One line: what each intervention adds to the loss, averaged over the pairs and, if there are any, sets of five."""
    layer = units[0].pair.target_layer
    rises: dict[str, list[float]] = {}
    names = {edit.positions for edit in effects}
    fives = {name for name in names if name.count(",") == 4} or names
    for edit, effect in effects.items():
        if edit.positions in fives and effect.n_sequences and edit.positions:
            rises.setdefault(edit.name, []).append(float(effect.delta_log_ppl))
    what = ", ".join(f"{name} {sum(values) / len(values):+.4f}" for name, values in rises.items())
    unedited = float(next(iter(effects.values())).log_ppl)
    about = f"features {list(units[0].features)} of " if units[0].features else ""
    say(
        "causal",
        f"{about}layer {layer}, {len(units)} pairs: loss {unedited:.3f} nats unedited; {what or 'nothing edited'}",
    )
