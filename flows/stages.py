"""The registry of flows and stages: order, inputs, events, command line, estimate and documentation derive from it.

A stage has the same name everywhere: ``tasks/NAME/``, ``flows/NAME.py`` with a flow of that name, a deployment in
``prefect.yaml``, and, if it has settings, a group of them in ``Settings``. To add one, add a ``RegisteredStage`` in
``warehouse/catalog/registered_stages.py`` and a ``StageSpec`` below.
"""

from typing import TYPE_CHECKING

from flows.stage_specs import Condition, Cost, FlowSpec, StageSpec, Trigger
from warehouse.catalog.registered_stages import REGISTERED_STAGES

if TYPE_CHECKING:
    from flows.settings import Settings

FEATURES_FIRST = Condition(
    "needs_features", "ato.operators-follow", yes="features", no="collect", meaning="a method needs selected features"
)
CAN_INTERVENE = Condition(
    "can_intervene",
    "ato.can-intervene",
    yes="yes",
    no="no",
    meaning="transported residuals can be put back",
    otherwise="only residual streams at the same position can be put back",
)
JACOBIANS_FIRST = Condition(
    "needs_jacobians", "ato.needs-jacobians", yes="yes", no="no", meaning="a method is measured in the running model"
)
INNOVATIONS = Condition(
    "studies_innovations",
    "ato.innovations",
    yes="yes",
    no="no",
    meaning="a study has SAEs of what an operator does not predict",
)
CONDITIONS = (FEATURES_FIRST, JACOBIANS_FIRST, CAN_INTERVENE, INNOVATIONS)

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
    ),
    StageSpec(
        name="features",
        does="Statistics, scores, selection and examples of every SAE feature.",
        pool="gpu",
        starts_after=(Trigger(("saes",)),),
        page="features",
        cost=Cost(6.3, 1.34, "flows.estimates.stage_costs:features_work"),
        judge="flows.judging.saes:judge_features",
    ),
    StageSpec(
        name="explain",
        does="Published explanations of the selected features.",
        pool="cpu",
        starts_after=(Trigger(("features",)),),
        cron="0 5 * * 0",
        page="features",
        judge="flows.judging.saes:judge_explain",
    ),
    StageSpec(
        name="jacobians",
        does="Mean derivatives between layers, measured in the running model.",
        pool="gpu",
        on_demand=True,
        page="operators",
        cost=Cost(3.0, 1.2, "flows.estimates.stage_costs:jacobians_work"),
        judge="flows.judging.jacobians:judge",
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
    ),
    StageSpec(
        name="evaluate",
        does="Feature transport, efficiency and rank curves of all pairs.",
        pool="cpu",
        starts_after=(Trigger(("features", "operators")),),
        page="transport",
        cost=Cost(2.2, 2.08, "flows.estimates.stage_costs:evaluate_work"),
        judge="flows.judging.causal:judge_evaluate",
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
    ),
    StageSpec(
        name="label",
        does="Features are described, and descriptions tested on other documents.",
        pool="gpu",
        on_demand=True,
        page="labels",
        cost=Cost(6.0, 1.2, "flows.estimates.label_costs:label_work"),
        judge="flows.judging.label:judge",
    ),
    StageSpec(
        name="embed",
        does="Descriptions, examples and promoted tokens of features become vectors, for the search by meaning.",
        pool="cpu",
        on_demand=True,
        page="labels",
        cost=Cost(6.0, 1.2, "flows.estimates.embed_costs:embed_work"),
        judge="flows.judging.embed:judge",
    ),
    StageSpec(
        name="graphs",
        does="Which features of a prompt make which others, and how much of that is plain transport.",
        pool="gpu",
        on_demand=True,
        page="graphs",
        cost=Cost(6.0, 1.2, "flows.estimates.graph_costs:graphs_work"),
        judge="flows.judging.graphs:judge",
    ),
    StageSpec(
        name="fate",
        does="What becomes of features between layers, by weights, by operators and in the running model.",
        pool="gpu",
        on_demand=True,
        page="fate",
        cost=Cost(6.0, 1.2, "flows.estimates.fate_costs:fate_work"),
        judge="flows.judging.fate:judge",
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
