"""Stage ``fate``: links, pathways and ablations of the features of every SAE, from all layers with an operator to it."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ato.numerics.evenly import evenly_spaced
from tasks.collect.sources import residual_source
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.model_cache import language_model, sae_device
from tasks.engine.parallel_parts import part_task, run_parts, split_by_size
from tasks.engine.progress import Progress, say
from tasks.engine.stage import checked_together
from tasks.engine.study import Study
from tasks.fate.stages import FatePlan, FateStage, check_plan, fate_stages
from tasks.saes.task import load_judged_sae
from warehouse.datasets.sequences import stored_sequences

if TYPE_CHECKING:
    from ato.causal.source_ablation import AblationAgreement
    from ato.sae_studies.links import FeatureLinks
    from ato.sae_studies.pathways import Pathways


@stage_task("fate")
@one_at_a_time("fate")
def follow_features(study: Study, sae_keys: list[str], plan: FatePlan, parts: int = 1) -> None:
    """Follow the features of every SAE back to the layers that have an operator to it, where that was not done yet.

    Args:
        study: the collection.
        sae_keys: SAEs whose features are followed, and between which they are linked.
        plan: the settings.
        parts: tasks that share the SAEs.

    Raises:
        MismatchError: another site, or another model than that of the collection.
        SettingsError: another position policy, or a method without operators.
    """
    check_plan(study, plan)
    stages = fate_stages(study, sae_keys, plan)
    missing = Counter(of.sae.sae for of in stages if not of.stage.complete)
    if not stages:
        say("fate", "no layer pair ends at a layer with an SAE: add source layers or leaps")
    elif missing.total() < len(stages):
        say("fate", f"{len(stages) - missing.total()} of {len(stages)} pairs are complete, skipped")
    if missing and parts > 1:
        run_parts("fate", follow_share, split_by_size(missing, parts), study, sae_keys, plan)
    elif missing:
        follow_share.fn([*missing], study, sae_keys, plan)


@part_task("fate, part")
def follow_share(own: list[str], study: Study, sae_keys: list[str], plan: FatePlan) -> None:
    """The features of some SAEs, one SAE after the other: what is done of them stays done."""
    study.check_same_model()
    for sae in own:
        missing = [of for of in fate_stages(study, sae_keys, plan) if of.sae.sae == sae and not of.stage.complete]
        if missing:
            _follow(missing, study, plan)


def _follow(missing: Sequence[FateStage], study: Study, plan: FatePlan) -> None:
    from tasks.fate.rows import ablation_columns, link_columns

    linked = _linked(missing, study, plan)
    found = _ablated(missing, study, plan, linked)
    with checked_together():
        for of in missing:
            with of.stage as stage:
                back = None
                if of.source is not None:
                    back, ahead, pathways = linked[of.stage.key]
                    shares = pathways.result(plan.evaluate.min_active)
                    stage.write(
                        "feature_links", link_columns(of, (of.sae, of.source), back, plan, shares), sae=of.sae.sae
                    )
                    stage.write("feature_links", link_columns(of, (of.source, of.sae), ahead, plan), sae=of.source.sae)
                matched = None if back is None else back.feature[list(of.features)]
                for direction, agreement in found.get(of.pair.source_layer, {}).items():
                    part = f"{stage.key}-{direction}"
                    columns = ablation_columns(of, direction, agreement, plan, matched)
                    stage.write("feature_ablations", columns, part=part, sae=of.sae.sae)
    _announce(missing, found)


def _linked(
    missing: Sequence[FateStage], study: Study, plan: FatePlan
) -> "dict[str, tuple[FeatureLinks, FeatureLinks, Pathways]]":
    """Stage -> its links back and ahead, and the shares of pathways after one pass over the test tokens."""
    from ato.residuals import run_pass
    from ato.sae_studies.links import feature_links
    from ato.sae_studies.pathways import Pathways

    device, found = sae_device(study.model), {}
    for of in missing:
        if of.source is None:
            continue
        source, target = (load_judged_sae(study.warehouse, row).to(device) for row in (of.source, of.sae))
        operator = of.pair.load(plan.own.method)
        back, ahead = feature_links(source, target, operator, plan.own.seed)
        matched = np.stack([back.feature, back.transport_feature])
        ends = (of.source.layer, source), (of.sae.layer, target)
        found[of.stage.key] = back, ahead, Pathways(*ends, operator, matched)
    if found:
        layers = sorted({layer for of in missing if of.source is not None for layer in of.pair.layers})
        study.check_layers(layers)
        with Progress("fate", 1, "passes", f"layer {missing[0].sae.layer}, test tokens") as progress:
            run_pass(residual_source(study), [of for *_, of in found.values()], layers=layers, splits=["test"])
            progress.advance()
    return found


def _ablated(
    missing: Sequence[FateStage],
    study: Study,
    plan: FatePlan,
    linked: "dict[str, tuple[FeatureLinks, FeatureLinks, Pathways]]",
) -> "dict[int, dict[str, AblationAgreement]]":
    """Source layer -> direction -> agreement of the ablated features of one SAE."""
    from ato.causal.source_ablation import SourceLayer, source_ablations

    first, own = missing[0], plan.own
    if not first.features:
        return {}
    model, row = language_model(study.model), study.row
    sources = {}
    for of in missing:
        sae = None if of.source is None else load_judged_sae(study.warehouse, of.source).to(model.device)
        matched = None if of.source is None else linked[of.stage.key][0].feature[list(of.features)]
        operator = of.pair.load(own.method)
        operator.check_model(row.weights_hash)
        sources[of.pair.source_layer] = SourceLayer(operator, sae, matched)
    held_out = stored_sequences(study.warehouse, study.collection, splits=["test"])
    sequences = evenly_spaced(held_out, own.n_sequences)
    target = first.sae.layer, load_judged_sae(study.warehouse, first.sae).to(model.device), first.features
    with Progress("fate", len(sequences), "sequences", f"layer {first.sae.layer}, ablations") as progress:
        return source_ablations(
            model,
            target,
            sources,
            sequences,
            n_tokens=own.n_tokens,
            batch_size=own.batch_size,
            policy=study.exclusion_policy,
            median_norm=row.median_norms,
            seed=own.seed,
            on_sequence=progress.advance,
        )


def _announce(missing: Sequence[FateStage], found: "dict[int, dict[str, AblationAgreement]]") -> None:
    """One line a pair: the median agreement of the ablated features."""
    from ato.causal.source_ablation import PULLBACK

    for of in missing:
        agreement = found[of.pair.source_layer][PULLBACK].agreement.value if found else np.array([])
        known = agreement[np.isfinite(agreement)]
        told = f"median agreement {np.median(known):.2f}" if len(known) else "nothing ablated"
        linked = "" if of.source is not None else ", no SAE at the source"
        say("fate", f"{of.pair.slug}: {told} of {len(known)} features{linked}")
