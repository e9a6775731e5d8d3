"""``ato deploy``: registers deployments, work pools, triggers and the accelerator's limit on a Prefect server.

Registering again updates what has changed and adds nothing twice. Schedules are registered once: from then on they
belong to the person who switches them on in the pages of the server.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml
from rich.console import Console
from rich.table import Table

from ato.errors import InputError, UnavailableError
from flows.settings import Settings, load_settings

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).resolve().parents[2]
"""The folder of ``flows/`` and ``prefect.yaml``: entrypoints of the deployments are relative to it."""
POOLS = {
    "cpu": "Stages that read tables: any machine with enough cores and memory",
    "gpu": "Stages that run the language model: a machine with an accelerator, if there is one",
}

CLOSED: dict[str, Any] = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""Base job template of the pools: no run or deployment may say its command, environment or working folder."""


@dataclass(frozen=True)
class Declared:
    """One deployment as ``prefect.yaml`` declares it."""

    entry: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the deployment and of its flow."""
        return self.entry["name"]

    @property
    def pool(self) -> str:
        """Work pool."""
        return self.entry["work_pool"]["name"]

    @property
    def schedules(self) -> list[dict[str, Any]]:
        """Cron schedules, with slug and state."""
        return self.entry.get("schedules", [])

    @property
    def triggers(self) -> list[dict[str, Any]]:
        """Event triggers, as Prefect reads them from YAML."""
        return self.entry.get("triggers", [])

    @cached_property
    def flow(self) -> "Flow[..., Any]":
        """The flow of the entrypoint."""
        from importlib import import_module

        path, function = self.entry["entrypoint"].split(":")
        return getattr(import_module(path.removesuffix(".py").replace("/", ".")), function)

    def form(self, settings: Settings) -> dict[str, Any]:
        """JSON schema of the parameters that a person fills in, in the order of the page, with their descriptions.

        Profile, estimate, the common settings, then the groups of settings, each closed until it is opened. The
        parameter ``settings`` is not among them: a run is sent that of the deployment, which the profile and the fields
        change.

        Args:
            settings: with which the form is deployed: an opened group shows their values.
        """
        from flows.engine.form_schema import form_schema

        return form_schema(self.name, self.flow.parameters.model_dump(), settings)


def declared() -> list[Declared]:
    """The deployments of ``prefect.yaml``.

    Raises:
        InputError: the program was installed without the file.
    """
    path = ROOT / "prefect.yaml"
    if not path.is_file():
        raise InputError("no prefect.yaml", where=ROOT, cure="install the repository with `pip install -e .`")
    return [Declared(entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]]


def deploy(profile: str = "demo") -> None:
    """Register everything on the server of PREFECT_API_URL, and print it.

    Args:
        profile: its settings are shown in the forms at first, and used by scheduled runs.

    Raises:
        UnavailableError: PREFECT_API_URL is not set, or the server does not answer.
    """
    settings = load_settings(profile)
    address = check_server()
    from prefect.client.orchestration import get_client

    from flows.local.recovery import register_automations

    table = Table("deployment", "pool", "runs when", "description", header_style="bold")
    with get_client(sync_client=True) as client:
        _register_shared(client)
        register_automations(client)
        for deployment in declared():
            register(client, deployment, settings)
            table.add_row(
                deployment.name, deployment.pool, "\n".join(occasions(deployment)), deployment.entry["description"]
            )
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(table)
    console.print(f"Registered on {address} with the settings of profile {profile}.", highlight=False, soft_wrap=True)


def check_server() -> str:
    """Address of the server's API.

    Raises:
        UnavailableError: PREFECT_API_URL is not set, or the server does not answer.
    """
    address = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not address:
        raise UnavailableError(
            "no Prefect server is running", cure="start one with `ato up`, or set PREFECT_API_URL to the API of yours"
        )
    try:
        httpx.get(f"{address}/health", timeout=10).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise UnavailableError(
            "the Prefect server does not answer",
            where=f"PREFECT_API_URL={address}, {reason}",
            cure="start it with `ato up`, or unset PREFECT_API_URL",
        ) from error
    return address


def _register_shared(client: "SyncPrefectClient") -> None:
    """Register work pools, and one slot per accelerator of this machine; a number set by hand is kept."""
    import torch
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    from flows.engine.stage_run import ACCELERATOR

    for name, description in POOLS.items():
        try:
            client.create_work_pool(
                WorkPoolCreate(name=name, type="process", description=description, base_job_template=CLOSED)
            )
        except ObjectAlreadyExists:
            if client.read_work_pool(name).type == "process":  # of an earlier version: it let runs choose their command
                client.update_work_pool(name, WorkPoolUpdate(base_job_template=CLOSED))
    try:
        client.read_global_concurrency_limit_by_name(ACCELERATOR)
    except ObjectNotFound:
        slots = max(1, torch.cuda.device_count())
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=ACCELERATOR, limit=slots))


def register(client: "SyncPrefectClient", deployment: Declared, settings: Settings) -> None:
    """Create or update one deployment and replace its triggers; existing schedules are kept."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import ConcurrencyOptions
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.events import DeploymentTriggerTypes
    from prefect.exceptions import ObjectNotFound
    from pydantic import TypeAdapter

    entry, name = deployment.entry, deployment.name
    try:
        there = client.read_deployment_by_name(f"{name}/{name}").schedules
        schedules = [
            DeploymentScheduleCreate(schedule=s.schedule, active=s.active, slug=s.slug, parameters=s.parameters)
            for s in there
        ]
    except ObjectNotFound:
        schedules = [
            DeploymentScheduleCreate(
                schedule=CronSchedule(cron=s["cron"], timezone=s["timezone"]), active=s["active"], slug=s["slug"]
            )
            for s in deployment.schedules
        ]
    limit = entry["concurrency_limit"]
    deployment_id = client.create_deployment(
        client.create_flow_from_name(name),
        name,
        schedules=schedules,
        concurrency_limit=limit["limit"],
        concurrency_options=ConcurrencyOptions(collision_strategy=limit["collision_strategy"]),
        parameters={"settings": settings.model_dump(mode="json")},
        description=entry["description"],
        work_pool_name=deployment.pool,
        tags=entry["tags"],
        entrypoint=entry["entrypoint"],
        parameter_openapi_schema=deployment.form(settings),
        pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        enforce_parameter_schema=True,
    )
    client.delete_resource_owned_automations(f"prefect.deployment.{deployment_id}")
    reader: TypeAdapter[DeploymentTriggerTypes] = TypeAdapter(DeploymentTriggerTypes)
    for spec in deployment.triggers:
        trigger = reader.validate_python(spec)
        trigger.set_deployment_id(deployment_id)
        client.create_automation(trigger.as_automation())


def occasions(deployment: Declared) -> Iterator[str]:
    """When a deployment runs by itself, one line per event or schedule."""
    for trigger in deployment.triggers:
        only = " and ".join(
            f"{label.removeprefix('ato.')} {value}" for label, value in trigger.get("match", {}).items()
        )
        yield " or ".join(trigger["expect"]) + (f" ({only})" if only else "")
    for schedule in deployment.schedules:
        state = "" if schedule["active"] else ", switched off"
        yield f"{schedule['slug']}: {schedule['cron']} {schedule['timezone']}{state}"
