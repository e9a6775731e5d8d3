"""What is said of a flow or a stage: what it does, what starts it, what it costs.

Nothing heavy is imported here: ``ato --help`` reads it. Flows and cost functions are imported when they are needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from warehouse.catalog.registered_stages import REGISTERED_STAGES

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

    needs_if: Mapping[Condition, tuple[str, ...]] = field(default_factory=dict)
    """Stages whose results it reads, beside those that it always needs, where a condition holds."""
    only: Condition | None = None
    """The pipeline skips it where this does not hold."""
    on_demand: bool = False
    """No event starts it, and the pipeline leaves it out unless a stage needs it: a study of its own."""
    gives: str | None = None
    """What its flow returns, as the parameter of later flows that takes it."""
    page: str = ""
    """Address of the dashboard's page with its results. Empty: it has none."""
    cost: Cost | None = None
    """What it takes; None: nobody can say beforehand."""
    query: str = ""
    """Its main table: ``ato show NAME`` and the artifact of its run; ``?`` is the collection. Empty: it has none."""
    judge: str = ""
    """``module:function`` that finds faults of its settings before any work, see ``flows.judging``. Empty: each value is fine."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Earlier stages whose results it always reads: its flow brings them up to date first."""
        return _REGISTERED[self.name].needs

    @property
    def commits(self) -> tuple[str, ...]:
        """Names under which it commits its parts to the warehouse."""
        return _REGISTERED[self.name].commits


_REGISTERED = {stage.name: stage for stage in REGISTERED_STAGES}
