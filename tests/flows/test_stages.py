"""The registry of stages: it agrees with every place that names a stage, and nothing names them a second time."""

import ast
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from ato.models.shapes import KNOWN
from dashboards.ui.navigation import PAGES
from flows.cli.results import ShownStage
from flows.cli.run import FlowName
from flows.engine.forms import HELP
from flows.estimates.stage_costs import work_of
from flows.settings import Settings, load_settings
from flows.stage_specs import CONDITIONS
from flows.stages import FLOWS, STAGES, joint_triggers, labels, stages_of, stages_table
from warehouse.catalog.catalog import rows
from warehouse.catalog.registered_stages import REGISTERED_STAGES

ROOT = Path(__file__).parents[2]
PLAIN, FOR_SELECTED = (load_settings("demo", [f"operators.methods=[ridge{more}]"]) for more in ("", ", rrr_features"))
MEASURED = load_settings("demo", ["operators.methods=[ridge, jacobian]"])
INNOVATIONS = load_settings("demo-innovation")


IN_PIPELINE = [name for name, stage in STAGES.items() if not stage.on_demand]


def names(flow: str, settings: Settings) -> list[str]:
    return [stage.name for stage in stages_of(flow, settings)]


def imported(path: Path) -> set[str]:
    """Modules that a file imports, wherever in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def test_the_pipeline_leaves_out_studies_on_demand_which_no_event_starts_and_no_stage_needs():
    on_demand = {name for name, stage in STAGES.items() if stage.on_demand}
    assert on_demand == {"entities", "sae_study", "label", "embed", "graphs", "fate", "compare", "jacobians"}
    assert not any(STAGES[name].starts_after for name in on_demand)
    assert not on_demand & {needed for stage in STAGES.values() for needed in stage.needs}


def test_every_stage_of_the_warehouse_has_a_flow():
    assert list(STAGES) == [stage.name for stage in REGISTERED_STAGES]


def test_the_registry_imports_nothing_heavy():
    code = "import sys; import flows.stages; print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"pydantic", "prefect", "torch", "yaml", "duckdb"} & set(ast.literal_eval(done.stdout))


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_stage_needs_and_follows_registered_stages_and_needs_only_earlier_ones(stage):
    earlier = list(STAGES)[: list(STAGES).index(stage.name)]
    needed = {*stage.needs, *(name for names in stage.needs_if.values() for name in names)}
    assert needed <= set(earlier)
    assert {name for trigger in stage.starts_after for name in trigger.stages} <= set(STAGES)
    assert all(condition in CONDITIONS for condition in stage.needs_if)


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_has_its_name_and_the_parameters_that_forms_explain(name):
    flow = FLOWS[name].load()
    assert flow.name == name
    names = list(flow.parameters.properties)
    first, *keys, form = names[0], *names[1:-4], names[-4:]
    assert (first, form) == ("settings", ["profile", "common", "stages", "estimate"])
    assert set(keys) <= {stage.gives for stage in STAGES.values()}
    assert set(names) <= set(HELP)


@pytest.mark.parametrize("name", FLOWS)
def test_no_flow_imports_another(name):
    assert not imported(ROOT / "flows" / f"{name}.py") & {f"flows.{other}" for other in FLOWS}


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_the_tasks_of_a_stage_import_only_those_of_stages_that_it_needs(stage):
    every = {
        other.name for settings in (FOR_SELECTED, MEASURED, INNOVATIONS) for other in stages_of(stage.name, settings)
    }
    allowed = {"engine", "settings", stage.name, *every}
    files = sorted((ROOT / "tasks" / stage.name).glob("*.py"))
    assert files
    for path in files:
        rooms = {module.split(".")[1] for module in imported(path) if module.startswith("tasks.")}
        assert rooms <= allowed, path


@pytest.mark.parametrize("stage", [stage for stage in STAGES.values() if stage.query], ids=lambda stage: stage.name)
def test_the_main_table_of_a_stage_can_be_asked_for_before_anything_is_there(stage, tmp_path):
    assert stage.query.count("?") == 1
    rows(tmp_path, stage.query, ["none"])


def test_pages_of_stages_exist():
    assert {stage.page for stage in STAGES.values()} - {""} <= set(PAGES)


def test_the_command_line_offers_every_flow_and_shows_every_main_table():
    assert typing.get_args(FlowName) == tuple(FLOWS)
    shown = ("findings", *(name for name, stage in STAGES.items() if stage.query))
    assert typing.get_args(ShownStage) == shown


def test_every_cost_can_be_worked_out():
    for stage in STAGES.values():
        if stage.cost is not None:
            work = work_of(stage.cost, PLAIN, KNOWN[PLAIN.model.name])
            assert (work.flops + work.disk_bytes > 0) == (stage.cost.function is not None), stage.name


def test_a_flow_runs_the_stages_that_it_needs_directly_or_not():
    assert names("collect", PLAIN) == ["collect"]
    assert names("operators", PLAIN) == ["collect", "operators"]
    assert names("evaluate", PLAIN) == ["collect", "saes", "operators", "evaluate"]
    assert names("evaluate", FOR_SELECTED) == ["collect", "saes", "features", "operators", "evaluate"]
    assert names("entities", PLAIN) == ["collect", "saes", "features", "operators", "entities"]
    assert names("sae_study", PLAIN) == ["collect", "sae_study"]
    assert names("sae_study", INNOVATIONS) == ["collect", "operators", "sae_study"]
    assert names("pipeline", PLAIN) == IN_PIPELINE


def test_a_study_on_demand_runs_where_a_stage_needs_it():
    assert names("operators", MEASURED) == ["collect", "jacobians", "operators"]
    assert names("evaluate", MEASURED) == ["collect", "saes", "jacobians", "operators", "evaluate"]
    assert set(names("pipeline", MEASURED)) == {*IN_PIPELINE, "jacobians"}
    assert labels(MEASURED)["ato.needs-jacobians"] == "yes"


def test_the_pipeline_leaves_out_what_the_settings_make_impossible():
    other_site = load_settings("demo", ["collect.site=mlp_out"])
    assert names("pipeline", other_site) == [name for name in IN_PIPELINE if name != "causal"]
    assert names("causal", other_site)[-1] == "causal", "whoever asks for it by name is told why"


def test_conditions_are_decided_by_the_settings_and_said_in_labels():
    others = {"ato.needs-jacobians": "no", "ato.can-intervene": "yes", "ato.innovations": "no"}
    plain = {"ato.operators-follow": "collect"} | others
    assert labels(PLAIN) == plain
    assert labels(FOR_SELECTED) == {"ato.operators-follow": "features"} | others
    assert labels(INNOVATIONS) == plain | {"ato.innovations": "yes"}
    assert labels(load_settings("demo", ["collect.site=mlp_out"]))["ato.can-intervene"] == "no"


def test_one_event_tells_of_two_stages():
    assert joint_triggers() == {"ato.features-and-operators.complete": ("features", "operators")}


def test_the_documentation_has_the_table_of_the_registry():
    page = (ROOT / "docs" / "orchestration.md").read_text(encoding="utf-8")
    assert stages_table() in page, "`python -m flows.stages` prints the table"
