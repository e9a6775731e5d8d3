"""The registry of flows and stages: order, inputs, events, command line, estimate and documentation derive from it.

A stage has the same name everywhere: ``tasks/NAME/``, ``flows/NAME.py`` with a flow of that name, a deployment in
``prefect.yaml``, and, if it has settings, a group of them in ``Settings``. To add one, add a ``RegisteredStage`` in
``warehouse/catalog/registered_stages.py`` and a ``StageSpec`` below.
"""

from typing import TYPE_CHECKING

from flows.stage_specs import (
    CAN_INTERVENE,
    CONDITIONS,
    FEATURES_FIRST,
    INNOVATIONS,
    JACOBIANS_FIRST,
    Cost,
    FlowSpec,
    StageSpec,
    Trigger,
)
from warehouse.catalog.registered_stages import REGISTERED_STAGES

if TYPE_CHECKING:
    from flows.settings import Settings

_STAGES = (
    StageSpec(
        name="collect",
        does="Corpus to sequences, activations and moments.",
        pool="gpu",
        cron="0 2 * * *",
        gives="collection",
        page="operations",
        cost=Cost(13.7, 1.30, "flows.estimates.stage_costs:collect_work"),
        judge="flows.judging.collect:judge",
        query="select * exclude (settings) from collections where collection = ?",
    ),
    StageSpec(
        name="saes",
        does="Sparse autoencoders are trained or loaded, and judged.",
        pool="gpu",
        starts_after=(Trigger(("collect",)),),
        gives="sae_keys",
        page="saes",
        cost=Cost(2.4, 1.61, "flows.estimates.stage_costs:saes_work"),
        judge="flows.judging.saes:judge",
        query="select * exclude (collection, path, weights_hash) from saes where collection = ? order by layer",
    ),
    StageSpec(
        name="features",
        does="Statistics, scores, selection and examples of every SAE feature.",
        pool="gpu",
        starts_after=(Trigger(("saes",)),),
        page="features",
        cost=Cost(6.3, 1.34, "flows.estimates.stage_costs:features_work"),
        judge="flows.judging.saes:judge_features",
        query="""select sae, count(*) as features, count(*) filter (n_active = 0) as dead,
            avg(activation_rate) as mean_rate, max(max_activation) as max_activation
            from feature_stats where collection = ? group by sae order by sae""",
    ),
    StageSpec(
        name="explain",
        does="Published explanations of the selected features.",
        pool="cpu",
        starts_after=(Trigger(("features",)),),
        cron="0 5 * * 0",
        page="features",
        judge="flows.judging.saes:judge_explain",
        query="""select sae, feature_id, description, explainer, score, alignment, aligned
            from explanations where collection = ? order by all""",
    ),
    StageSpec(
        name="jacobians",
        does="Mean derivatives between layers, measured in the running model.",
        pool="gpu",
        on_demand=True,
        page="operators",
        cost=Cost(3.0, 1.2, "flows.estimates.stage_costs:jacobians_work"),
        judge="flows.judging.jacobians:judge",
        query="""select source_layer, leap, target_layer, positions, n_tokens, n_documents, probes, relative_error,
            converged, identity_cosine, seconds from jacobians where collection = ? order by all""",
    ),
    StageSpec(
        name="operators",
        does="Transport operators are fitted, scored and registered.",
        pool="cpu",
        starts_after=(
            Trigger(("collect",), FEATURES_FIRST, holds=False),
            Trigger(("features",), FEATURES_FIRST),
        ),
        needs_if={FEATURES_FIRST: ("saes", "features"), JACOBIANS_FIRST: ("jacobians",)},
        gives="pair_keys",
        page="operators",
        cost=Cost(5.1, 1.62, "flows.estimates.stage_costs:operators_work"),
        judge="flows.judging.operators:judge",
        query="""select source_layer, leap, target_layer, position_policy, method, alpha, rank, r2_test, r2_weighted,
            r2_whitened, r2_update, skill, cosine from operators where collection = ? order by all""",
    ),
    StageSpec(
        name="evaluate",
        does="Feature transport, efficiency and rank curves of all pairs.",
        pool="cpu",
        starts_after=(Trigger(("features", "operators")),),
        page="transport",
        cost=Cost(2.2, 2.08, "flows.estimates.stage_costs:evaluate_work"),
        judge="flows.judging.causal:judge_evaluate",
        query="select * exclude (collection) from transport_map where collection = ? order by all",
    ),
    StageSpec(
        name="causal",
        does="Transported residuals are put back into the running model.",
        pool="gpu",
        starts_after=(Trigger(("features", "operators"), CAN_INTERVENE),),
        only=CAN_INTERVENE,
        page="causal",
        cost=Cost(2.6, 1.03, "flows.estimates.stage_costs:causal_work"),
        judge="flows.judging.causal:judge_causal",
        query="""select source_layer, target_layer, method, intervention, position_set, feature_id, n_sequences,
            delta_log_ppl, delta_log_ppl_low, delta_log_ppl_high, kl,
            difference, difference_low, difference_high, difference_p
            from causal_summary where collection = ? order by all""",
    ),
    StageSpec(
        name="report",
        does="Best versions, the published catalog and the page of figures.",
        pool="cpu",
        starts_after=(Trigger(("evaluate",)), Trigger(("causal",))),
        cost=Cost(4.7),
    ),
    StageSpec(
        name="entities",
        does="Which entities the model knows, which features say so, and what they cause.",
        pool="gpu",
        on_demand=True,
        page="entities",
        cost=Cost(10.0, 1.0, "flows.estimates.stage_costs:entities_work"),
        judge="flows.judging.entities:judge",
        query="""select contrast, template || ', ' || position as read_at, direction, rank, layer,
            feature_id, auroc, auroc_low, auroc_high, q, best_baseline, best_baseline_auroc, beats_baselines
            from entity_latent_ranking where collection = ? and entity_type = 'all' and rank <= 5
            order by contrast = 'known_unknown' desc, contrast, template, position, direction, rank""",
    ),
    StageSpec(
        name="sae_study",
        does="Many sparse autoencoders are trained in one pass and compared with baselines.",
        pool="gpu",
        on_demand=True,
        needs_if={INNOVATIONS: ("operators",)},
        page="sae_study",
        cost=Cost(8.0, 1.2, "flows.estimates.sae_study_costs:sae_study_work"),
        judge="flows.judging.sae_study:judge",
        query="""select layer, label, l0, fvu, ce_recovered, kl, dead_share, matched_cosine
            from sae_comparison where collection = ?
            order by layer, site, target_site nulls first, is_baseline, architecture, k, seed, label""",
    ),
    StageSpec(
        name="label",
        does="Features are described, and descriptions tested on other documents.",
        pool="gpu",
        on_demand=True,
        page="labels",
        cost=Cost(6.0, 1.2, "flows.estimates.label_costs:label_work"),
        judge="flows.judging.label:judge",
        query="""select sae, feature_id, judge, description, detection, detection_low, detection_high, intruder,
            failed from feature_labelled where collection = ? order by layer, sae, judge, place""",
    ),
    StageSpec(
        name="embed",
        does="Descriptions, examples and promoted tokens of features become vectors, for the search by meaning.",
        pool="cpu",
        on_demand=True,
        page="labels",
        cost=Cost(6.0, 1.2, "flows.estimates.embed_costs:embed_work"),
        judge="flows.judging.embed:judge",
        query="""select sae, kind, encoder, count(*) as texts, count(distinct feature_id) as features
            from feature_embeddings semi join (from latest_embeddings where is_latest) using (collection, embedding)
            where collection = ? group by layer, sae, kind, encoder order by layer, sae, kind""",
    ),
    StageSpec(
        name="graphs",
        does="Which features of a prompt make which others, and how much of that is plain transport.",
        pool="gpu",
        on_demand=True,
        page="graphs",
        cost=Cost(6.0, 1.2, "flows.estimates.graph_costs:graphs_work"),
        judge="flows.judging.graphs:judge",
        query="""select prompt, graph_kind, likeliest_token, n_features, n_edges, replacement, completeness, transport_share,
            conservation_residual, pearson, pearson_low, pearson_high, pearson_control, seconds
            from graph_summary where collection = ? order by prompt, graph_kind""",
    ),
    StageSpec(
        name="fate",
        does="What becomes of features between layers, by weights, by operators and in the running model.",
        pool="gpu",
        on_demand=True,
        page="fate",
        cost=Cost(6.0, 1.2, "flows.estimates.fate_costs:fate_work"),
        judge="flows.judging.fate:judge",
        query="""select target_layer, source_layer, fate, count(*) as features, count(agreement) as ablated,
            avg(r2) as r2, avg(r2_identity) as r2_identity, avg(decoder_cosine) as decoder_cosine, avg(agreement) as agreement,
            count(*) filter (views_disagree) as disagreeing
            from feature_fate where collection = ? group by all order by all""",
    ),
    StageSpec(
        name="compare",
        does="Transport in other models or checkpoints, beside this one's, on the same text.",
        pool="gpu",
        on_demand=True,
        gives="comparisons",
        page="compare",
        cost=Cost(6.0, 1.4, "flows.estimates.compare_costs:compare_work"),
        judge="flows.judging.compare:judge",
        query="""select place, other_model, source_layer, target_layer, sae, n_features, n_changed, n_verdicts_changed,
            mean_difference, mean_difference_low, mean_difference_high, mean_loss, relative_distance
            from latest_comparisons where collection = ? order by place, source_layer, target_layer, sae""",
    ),
)

_PLACES = {stage.name: place for place, stage in enumerate(REGISTERED_STAGES)}
STAGES: dict[str, StageSpec] = {stage.name: stage for stage in sorted(_STAGES, key=lambda stage: _PLACES[stage.name])}
"""Stages by name, in the order of the pipeline; behind them those on demand."""
PIPELINE = FlowSpec(name="pipeline", does="The whole study in one run.", pool="gpu")
WATCH = FlowSpec(
    name="watch",
    does="New checkpoints are compared as they come; a change is an event and a failed run.",
    pool="gpu",
    cron="30 * * * *",
)
WATCHED = "compare"
"""The stage that ``watch`` brings up to date."""
FLOWS: dict[str, FlowSpec] = {PIPELINE.name: PIPELINE, **STAGES, WATCH.name: WATCH}
"""All flows by name: the pipeline, each stage by itself, and the watch."""


def stages_of(flow: str, settings: "Settings") -> list[StageSpec]:
    """The stages that a flow brings up to date under these settings, in order, its own the last."""
    wanted = {WATCHED if flow == WATCH.name else flow}
    if flow == PIPELINE.name:
        every = (stage for stage in STAGES.values() if not stage.on_demand)
        wanted = {stage.name for stage in every if stage.only is None or stage.only.holds(settings)}
    for stage in reversed(STAGES.values()):
        if stage.name in wanted:
            wanted.update(stage.needs)
            for condition, names in stage.needs_if.items():
                wanted.update(names if condition.holds(settings) else ())
    return [stage for stage in STAGES.values() if stage.name in wanted]


def joint_triggers() -> dict[str, tuple[str, ...]]:
    """Event -> stages, for the events that say that several stages are complete."""
    triggers = (trigger for stage in STAGES.values() for trigger in stage.starts_after)
    return {trigger.event: trigger.stages for trigger in triggers if len(trigger.stages) > 1}


def labels(settings: "Settings") -> dict[str, str]:
    """Labels of every event about a study with these settings: one for each condition."""
    return {c.label: c.value(c.holds(settings)) for c in CONDITIONS}


def stages_table() -> str:
    """All flows as a Markdown table: what each does, its work pool, when it starts, its page of the dashboard."""
    lines = [
        "| flow | what it does | pool | starts after | by the clock (UTC, off at first) | page |",
        "|---|---|---|---|---|---|",
    ]
    for name, spec in FLOWS.items():
        stage = STAGES.get(name)
        cells = (
            f"`{name}`",
            spec.does,
            f"`{spec.pool}`",
            "on demand" if stage and stage.on_demand else ", or ".join(map(str, spec.starts_after)),
            f"`{spec.cron}`" if spec.cron else "",
            f"`{stage.page}`" if stage and stage.page else "",
        )
        lines.append("|" + "".join(f" {cell} |" if cell else " |" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    print(stages_table())
