"""Stage ``causal``: what putting transported residuals back into the running model costs, on held-out text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ato.causal.interventions import FeatureEdits, PositionSet, ResidualEdits
from ato.numerics.evenly import evenly_spaced
from ato.numerics.intervals import number_or_none
from ato.operators import TransportOperator
from tasks.causal.stages import CausalStage, causal_stages, check_causal
from tasks.engine.columns import estimate_columns
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.model_cache import language_model
from tasks.engine.progress import Progress, say
from tasks.engine.stage import checked_together
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage
from tasks.saes.task import load_judged_sae
from tasks.settings import CausalSettings, OperatorSettings
from warehouse.datasets.sequences import stored_sequences

if TYPE_CHECKING:
    from ato.causal.differences import Comparison, Difference
    from ato.causal.effects import Effect
    from ato.causal.interventions import Intervention
    from ato.causal.losses import CausalLosses, EditLosses


@stage_task("causal")
@one_at_a_time("causal")
def measure_causal(study: Study, sae_keys: list[str], operators: OperatorSettings, settings: CausalSettings) -> None:
    """Run the model on test sequences with every edit of the settings, for the pairs that were not measured yet."""
    check_causal(study, operators, settings)
    stages = causal_stages(study, sae_keys, operators, settings)
    missing = [of for of in stages if not of.stage.complete]
    if not stages:
        say("causal", "no layer pair ends at a layer with an SAE: set causal.pairs")
    elif len(missing) < len(stages):
        done = (
            f"{len(stages) - len(missing)} of {len(stages)} measurements (whole residuals or single features of a pair)"
        )
        say("causal", f"{done} are complete, skipped")
    if missing:
        _measure(missing, study, settings)


def _measure(missing: Sequence[CausalStage], study: Study, settings: CausalSettings) -> None:
    from ato.causal.losses import causal_losses, full_length_sequences

    study.check_same_model()
    row, positions = study.row, [PositionSet.parse(text) for text in settings.positions]
    held_out = stored_sequences(study.warehouse, study.collection, splits=["test"])
    full = full_length_sequences(held_out, row.seq_len, positions)
    sequences = evenly_spaced(full, settings.n_sequences)
    shorter = f", {len(held_out) - len(full)} shorter ones left out" if len(full) < len(held_out) else ""
    n_pairs, n_single = len({of.pair.layers for of in missing}), sum(of.sae is not None for of in missing)
    single = f", single features of {n_single} of them" if n_single else ""
    say(
        "causal",
        f"{n_pairs} layer pairs{single}, on {len(sequences)} of {len(full)} full-length test sequences{shorter}",
    )
    plans: dict[tuple, list[CausalStage]] = {}
    for of in missing:
        plans.setdefault(of.plan, []).append(of)
    lm = language_model(study.model)
    edits = [_edits(plan, study, settings, positions, lm.device) for plan in plans.values()]
    with Progress("causal", len(sequences), "sequences") as progress:
        losses = causal_losses(
            lm,
            edits,
            sequences,
            batch_size=settings.batch_size,
            policy=study.exclusion_policy,
            median_norm=row.median_norms,
            on_sequence=progress.advance,
        )
    with checked_together():
        for i, plan in enumerate(plans.values()):
            _commit(plan, losses, losses.with_unedited(i), study, settings)


def _edits(
    plan: Sequence[CausalStage], study: Study, settings: CausalSettings, positions: Sequence[PositionSet], device: Any
) -> ResidualEdits | FeatureEdits:
    """The edits of one plan, with the operators of its pairs."""
    operators = {of.pair.source_layer: _operator(of.pair, settings.method, study) for of in plan}
    layer, sae = plan[0].pair.target_layer, plan[0].sae
    if sae is None:
        return ResidualEdits(layer, operators, positions, settings.interventions, settings.seed)
    return FeatureEdits(layer, operators, load_judged_sae(study.warehouse, sae).to(device), plan[0].features)


def _operator(pair: PairStage, method: str, study: Study) -> TransportOperator:
    operator = pair.load(method)
    operator.check_model(study.row.weights_hash)
    operator.check_pair(pair.source_layer, pair.target_layer)
    return operator


def _commit(
    plan: Sequence[CausalStage],
    losses: "CausalLosses",
    edits: Mapping["Intervention", "EditLosses"],
    study: Study,
    settings: CausalSettings,
) -> None:
    """Write the rows of one plan, pair by pair: what needs no source layer stands in the rows of every pair."""
    from ato.causal.differences import paired_differences
    from ato.causal.effects import causal_effects

    effects = causal_effects(edits, losses.log_ppl, losses.document)
    for of in plan:
        own = [edit for edit in edits if edit.source_layer in (None, of.pair.source_layer)]
        keys = {
            "collection": of.stage.collection,
            "evaluation": of.stage.key,
            **of.pair.columns,
            "method": settings.method,
        }
        with of.stage as stage:
            operator = {"operator": of.pair.operator_key(settings.method)}
            stage.write(
                "causal_perplexity",
                [keys | operator | row for edit in own for row in _sequences(edit, edits[edit], losses)],
            )
            stage.write("causal_effects", [keys | _effect(edit, effects[edit]) for edit in own])
            if differences := paired_differences(edits, of.pair.source_layer, losses.document):
                stage.write("causal_differences", [keys | _difference(*item) for item in differences.items()])
            stage.tokens_run = len(losses.log_ppl) * study.row.seq_len
    _announce(plan, effects)


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


def _difference(comparison: "Comparison", of: "Difference") -> dict[str, Any]:
    """Row of ``causal_differences`` of one comparison."""
    return {
        **vars(comparison),
        "n_sequences": of.n_sequences,
        "n_documents": of.n_documents,
        **estimate_columns(difference=of.log_ppl, difference_edited_onwards=of.edited_onwards, difference_kl=of.kl),
        "p": of.p,
    }


def _announce(plan: Sequence[CausalStage], effects: Mapping["Intervention", "Effect"]) -> None:
    """One line: what each intervention adds to the loss, averaged over the pairs and, if there are any, sets of five."""
    layer = plan[0].pair.target_layer
    rises: dict[str, list[float]] = {}
    names = {edit.positions for edit in effects}
    fives = {name for name in names if name.count(",") == 4} or names
    for edit, effect in effects.items():
        if edit.positions in fives and effect.n_sequences and edit.positions:
            rises.setdefault(edit.name, []).append(float(effect.delta_log_ppl))
    what = ", ".join(f"{name} {sum(values) / len(values):+.4f}" for name, values in rises.items())
    unedited = float(next(iter(effects.values())).log_ppl)
    about = f"features {list(plan[0].features)} of " if plan[0].features else ""
    say(
        "causal",
        f"{about}layer {layer}, {len(plan)} pairs: loss {unedited:.3f} nats unedited; {what or 'nothing edited'}",
    )
