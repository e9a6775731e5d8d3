"""The registry of flows and stages: order, inputs, events, command line, estimate and documentation derive from it.

A stage has the same name everywhere: ``tasks/NAME/``, ``flows/NAME.py`` with a flow of that name, a deployment in
``prefect.yaml``, and, if it has settings, a group of them in ``Settings``. To add one, add a ``StageSpec`` below.

This module imports nothing heavy: ``ato --help`` reads it. Flows and cost functions are imported when they are needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from prefect import Flow

    from flows.settings import Settings


@dataclass(frozen=True)
class Condition:
    """Something that the settings of a study decide, and that its events say in a label."""

    setting: str
    """Property of ``Settings``, a bool."""
    label: str
    """Label of the events."""
    yes: str
    """Value of the label where the condition holds."""
    no: str
    """Value of the label where it does not."""
    meaning: str
    """The condition in words, after "if"."""
    otherwise: str = ""
    """Why a stage that needs the condition is skipped without it."""

    def holds(self, settings: "Settings") -> bool:
        """Whether it holds for a study with these settings."""
        return getattr(settings, self.setting)

    def value(self, holds: bool) -> str:
        """Value of the label."""
        return self.yes if holds else self.no


@dataclass(frozen=True)
class Trigger:
    """The event that starts a flow: these stages are complete, and the condition, if any, is as it should be."""

    stages: tuple[str, ...]
    only: Condition | None = None
    holds: bool = True

    @property
    def event(self) -> str:
        """Name of the event."""
        return f"ato.{'-and-'.join(self.stages)}.complete"

    @property
    def match(self) -> dict[str, str]:
        """Labels that the event must have."""
        return {} if self.only is None else {self.only.label: self.only.value(self.holds)}

    def __str__(self) -> str:
        condition = "" if self.only is None else f" {'if' if self.holds else 'unless'} {self.only.meaning}"
        return f"`{self.event}`{condition}"


@dataclass(frozen=True)
class Cost:
    """Seconds and work of a stage; the constants were fitted to two studies on two kinds of machine, see ``flows.estimates.estimate``."""

    fixed_seconds: float
    """Whatever the study: imports, Prefect's server, quality checks, files."""
    slowdown: float = 1.0
    """Time of its work over the time at the measured rates, in the demo: small products, attention, sorting, tables."""
    function: str | None = None
    """``module:function`` that counts its work from settings and model shape; None: it takes the fixed seconds only."""


@dataclass(frozen=True, kw_only=True)
class FlowSpec:
    """One flow of the command line, with its deployment."""

    name: str
    does: str
    """One sentence; the deployment's description begins with it."""
    pool: Literal["cpu", "gpu"]
    """Work pool: ``gpu`` for flows that run the language model."""
    starts_after: tuple[Trigger, ...] = ()
    """Events, each of which starts it."""
    cron: str = ""
    """When the clock starts it, in UTC, once someone has switched the schedule on."""

    @property
    def entrypoint(self) -> str:
        """Of its deployment."""
        return f"flows/{self.name}.py:{self.name}"

    @property
    def event(self) -> str:
        """Sent when it has completed by itself, not as a part of another flow."""
        return f"ato.{self.name}.complete"

    def load(self) -> "Flow[..., Any]":
        """The flow itself; imports its module."""
        return getattr(import_module(f"flows.{self.name}"), self.name)


@dataclass(frozen=True, kw_only=True)
class StageSpec(FlowSpec):
    """One stage of the pipeline."""

    needs: tuple[str, ...] = ()
    """Earlier stages whose results it reads: its flow brings them up to date first."""
    needs_if: Mapping[Condition, tuple[str, ...]] = field(default_factory=dict)
    """Further ones, where a condition holds."""
    only: Condition | None = None
    """The pipeline skips it where this does not hold."""
    on_demand: bool = False
    """No event starts it, and the pipeline leaves it out unless a stage needs it: a study of its own."""
    gives: str | None = None
    """What its flow returns, as the parameter of later flows that takes it."""
    commits: tuple[str, ...] = ()
    """Names under which it commits its parts to the warehouse, see ``stage_runs``."""
    query: str = ""
    """Its main table: ``ato show NAME`` and the artifact of its run; ``?`` is the collection. Empty: it has none."""
    page: str = ""
    """Address of the dashboard's page with its results. Empty: it has none."""
    cost: Cost | None = None
    """What it takes; None: nobody can say beforehand."""
    judge: str = ""
    """``module:function`` that finds faults of its settings before any work, see ``flows.judging``. Empty: each value is fine."""


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
        commits=("collect", "moments"),
        query="select * exclude (settings) from collections where collection = ?",
        page="operations",
        cost=Cost(13.7, 1.30, "flows.estimates.stage_costs:collect_work"),
        judge="flows.judging.collect:judge",
    ),
    StageSpec(
        name="saes",
        does="Sparse autoencoders are trained or loaded, and judged.",
        pool="gpu",
        starts_after=(Trigger(("collect",)),),
        needs=("collect",),
        gives="sae_keys",
        commits=("sae_weights", "saes"),
        query="select * exclude (collection, path, weights_hash) from saes where collection = ? order by layer",
        page="saes",
        cost=Cost(2.4, 1.61, "flows.estimates.stage_costs:saes_work"),
        judge="flows.judging.saes:judge",
    ),
    StageSpec(
        name="features",
        does="Statistics, scores, selection and examples of every SAE feature.",
        pool="gpu",
        starts_after=(Trigger(("saes",)),),
        needs=("collect", "saes"),
        commits=("features", "feature_scores"),
        query="""select sae, count(*) as features, count(*) filter (n_active = 0) as dead,
            avg(activation_rate) as mean_rate, max(max_activation) as max_activation
            from feature_stats where collection = ? group by sae order by sae""",
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
        needs=("collect", "saes", "features"),
        commits=("explain",),
        query="""select sae, feature_id, description, explainer, score, alignment, aligned
            from explanations where collection = ? order by all""",
        page="features",
        judge="flows.judging.saes:judge_explain",
    ),
    StageSpec(
        name="jacobians",
        does="Mean derivatives between layers, measured in the running model.",
        pool="gpu",
        on_demand=True,
        needs=("collect",),
        commits=("jacobians",),
        query="""select source_layer, leap, target_layer, positions, n_tokens, n_documents, probes, relative_error,
            converged, identity_cosine, seconds from jacobians where collection = ? order by all""",
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
        needs=("collect",),
        needs_if={FEATURES_FIRST: ("saes", "features"), JACOBIANS_FIRST: ("jacobians",)},
        gives="pair_keys",
        commits=("operators",),
        query="""select source_layer, leap, target_layer, position_policy, method, alpha, rank, r2_test, r2_weighted,
            r2_whitened, r2_update, skill, cosine from operators where collection = ? order by all""",
        page="operators",
        cost=Cost(5.1, 1.62, "flows.estimates.stage_costs:operators_work"),
        judge="flows.judging.operators:judge",
    ),
    StageSpec(
        name="evaluate",
        does="Feature transport, efficiency and rank curves of all pairs.",
        pool="cpu",
        starts_after=(Trigger(("features", "operators")),),
        needs=("collect", "saes", "operators"),
        commits=("evaluate",),
        query="select * exclude (collection) from transport_map where collection = ? order by all",
        page="transport",
        cost=Cost(2.2, 2.08, "flows.estimates.stage_costs:evaluate_work"),
        judge="flows.judging.causal:judge_evaluate",
    ),
    StageSpec(
        name="causal",
        does="Transported residuals are put back into the running model.",
        pool="gpu",
        starts_after=(Trigger(("features", "operators"), CAN_INTERVENE),),
        needs=("collect", "saes", "features", "operators"),
        only=CAN_INTERVENE,
        commits=("causal",),
        query="""select source_layer, target_layer, method, intervention, position_set, feature_id, n_sequences,
            delta_log_ppl, delta_log_ppl_low, delta_log_ppl_high, kl,
            difference, difference_low, difference_high, difference_p
            from causal_summary where collection = ? order by all""",
        page="causal",
        cost=Cost(2.6, 1.03, "flows.estimates.stage_costs:causal_work"),
        judge="flows.judging.causal:judge_causal",
    ),
    StageSpec(
        name="report",
        does="Best versions, the published catalog and the page of figures.",
        pool="cpu",
        starts_after=(Trigger(("evaluate",)), Trigger(("causal",))),
        needs=("collect",),
        commits=("report",),
        cost=Cost(4.7),
    ),
    StageSpec(
        name="entities",
        does="Which entities the model knows, which features say so, and what they cause.",
        pool="gpu",
        on_demand=True,
        needs=("collect", "saes", "features", "operators"),
        commits=(
            "entity_set",
            "entity_answers",
            "entity_labels",
            "entity_residuals",
            "entity_latents",
            "entity_interventions",
        ),
        query="""select contrast, template || ', ' || position as read_at, direction, rank, layer,
            feature_id, auroc, auroc_low, auroc_high, q, best_baseline, best_baseline_auroc, beats_baselines
            from entity_latent_ranking where collection = ? and entity_type = 'all' and rank <= 5
            order by contrast = 'known_unknown' desc, contrast, template, position, direction, rank""",
        page="entities",
        cost=Cost(10.0, 1.0, "flows.estimates.stage_costs:entities_work"),
        judge="flows.judging.entities:judge",
    ),
    StageSpec(
        name="sae_study",
        does="Many sparse autoencoders are trained in one pass and compared with baselines.",
        pool="gpu",
        on_demand=True,
        needs=("collect",),
        needs_if={INNOVATIONS: ("operators",)},
        commits=("strata", "sae_study_weights", "sae_study_quality", "sae_study_looks", "sae_studies"),
        query="""select layer, label, l0, fvu, ce_recovered, kl, dead_share, matched_cosine
            from sae_comparison where collection = ?
            order by layer, site, target_site nulls first, is_baseline, architecture, k, seed, label""",
        page="sae_study",
        cost=Cost(8.0, 1.2, "flows.estimates.sae_study_costs:sae_study_work"),
        judge="flows.judging.sae_study:judge",
    ),
    StageSpec(
        name="label",
        does="Features are described, and descriptions tested on other documents.",
        pool="gpu",
        on_demand=True,
        needs=("collect", "saes", "features"),
        commits=("strata", "label_evidence", "label", "label_agreement"),
        query="""select sae, feature_id, judge, description, detection, detection_low, detection_high, intruder,
            failed from feature_labelled where collection = ? order by layer, sae, judge, place""",
        page="labels",
        cost=Cost(6.0, 1.2, "flows.estimates.label_costs:label_work"),
        judge="flows.judging.label:judge",
    ),
    StageSpec(
        name="embed",
        does="Descriptions, examples and promoted tokens of features become vectors, for the search by meaning.",
        pool="cpu",
        on_demand=True,
        needs=("collect", "saes", "features"),
        commits=("embed",),
        query="""select sae, kind, encoder, count(*) as texts, count(distinct feature_id) as features
            from feature_embeddings semi join (from latest_embeddings where is_latest) using (collection, embedding)
            where collection = ? group by layer, sae, kind, encoder order by layer, sae, kind""",
        page="labels",
        cost=Cost(6.0, 1.2, "flows.estimates.embed_costs:embed_work"),
        judge="flows.judging.embed:judge",
    ),
    StageSpec(
        name="graphs",
        does="Which features of a prompt make which others, and how much of that is plain transport.",
        pool="gpu",
        on_demand=True,
        needs=("collect", "saes", "features", "operators"),
        commits=("graphs", "graph_motifs"),
        query="""select prompt, graph_kind, likeliest_token, n_features, n_edges, replacement, completeness, transport_share,
            conservation_residual, pearson, pearson_low, pearson_high, pearson_control, seconds
            from graph_summary where collection = ? order by prompt, graph_kind""",
        page="graphs",
        cost=Cost(6.0, 1.2, "flows.estimates.graph_costs:graphs_work"),
        judge="flows.judging.graphs:judge",
    ),
    StageSpec(
        name="fate",
        does="What becomes of features between layers, by weights, by operators and in the running model.",
        pool="gpu",
        on_demand=True,
        needs=("collect", "saes", "features", "operators", "evaluate"),
        commits=("fate",),
        query="""select target_layer, source_layer, fate, count(*) as features, count(agreement) as ablated,
            avg(r2) as r2, avg(r2_identity) as r2_identity, avg(decoder_cosine) as decoder_cosine, avg(agreement) as agreement,
            count(*) filter (views_disagree) as disagreeing
            from feature_fate where collection = ? group by all order by all""",
        page="fate",
        cost=Cost(6.0, 1.2, "flows.estimates.fate_costs:fate_work"),
        judge="flows.judging.fate:judge",
    ),
    StageSpec(
        name="compare",
        does="Transport in other models or checkpoints, beside this one's, on the same text.",
        pool="gpu",
        on_demand=True,
        needs=("collect", "saes", "operators"),
        gives="comparisons",
        commits=("compare", "watch"),
        query="""select place, other_model, source_layer, target_layer, sae, n_features, n_changed, n_verdicts_changed,
            mean_difference, mean_difference_low, mean_difference_high, mean_loss, relative_distance
            from latest_comparisons where collection = ? order by place, source_layer, target_layer, sae""",
        page="compare",
        cost=Cost(6.0, 1.4, "flows.estimates.compare_costs:compare_work"),
        judge="flows.judging.compare:judge",
    ),
)

STAGES: dict[str, StageSpec] = {stage.name: stage for stage in _STAGES}
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
