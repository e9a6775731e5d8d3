"""The flow ``graphs`` and ``ato graph`` on a tiny model: from the table to the command, killed, resumed, shared out."""

import json
import shutil
import signal
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from flows.graphs import graphs
from tests.flows.forked_stages import Death
from tests.flows.planted_graphs import run_graphs
from tests.flows.test_fault_injection import steady_rows
from tests.tasks.graphs.small_graphs import collected, graph_settings
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
TABLES = ("graphs", "graph_nodes", "graph_edges", "graph_heads", "graph_qk", "graph_supernodes", "graph_motifs")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A collection with SAEs and operators and without graphs; ATO_WAREHOUSE points at it while the module runs."""
    folder = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = graph_settings(folder)
        collection, saes = collected(settings)
        (folder / "tiny.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
        yield SimpleNamespace(folder=folder, settings=settings, collection=collection, saes=saes)


@pytest.fixture
def copy(base, tmp_path, monkeypatch):
    """A copy of that warehouse for one test, the one of the environment meanwhile."""
    shutil.copytree(base.folder / "warehouse", tmp_path / "warehouse", ignore=shutil.ignore_patterns("locks"))
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    return base


def command(base: SimpleNamespace, *words: str):
    return CliRunner().invoke(app, [*words, "--profile", str(base.folder / "tiny.yaml")])


def test_the_flow_makes_the_graphs_and_show_lists_them(copy):
    keys = graphs(copy.settings, copy.collection, copy.saes)
    assert {row["graph_set"] for row in rows(None, "from graphs")} == set(keys)
    shown = CliRunner().invoke(app, ["show", "graphs"])
    assert shown.exit_code == 0, shown.output
    assert "transport" in shown.output
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_one_prompt_is_shown_with_its_nodes_edges_and_files_and_made_once(copy, monkeypatch):
    words = ("graph", "the law of the union", "--target", "s", "--target", " ", "--top", "5")
    done = command(copy, *words)
    assert done.exit_code == 0, done.output
    for expected in (
        "attribution: the 5 most influential",
        "transport: the 5 strongest edges",
        "the 5 largest contributions of edges through a head",
        "Plain transport",
        "Files for",
    ):
        assert expected in done.output
    monkeypatch.setattr("tasks.graphs.making.language_model", lambda _: pytest.fail("nothing is left to make"))
    again = command(copy, *words, "--format", "json")
    assert again.exit_code == 0, again.output
    found = json.loads(again.stdout[again.stdout.index("[\n") :])
    assert [one["graph_kind"] for one in found] == ["attribution", "transport"]
    assert [one["targets"] for one in found] == [["s", " "], []]
    for one in found:
        weights = [abs(edge["weight"]) for edge in one["edges"]]
        assert weights == sorted(weights, reverse=True)
        assert len(one["nodes"]) == 5
        assert len(one["heads"]) == (5 if one["graph_kind"] == "attribution" else 0)
        assert Warehouse().artifact_path(*one["path"].split("/")[1:]).is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["the law", "--target", "Paris"], "the nearest is"),
        (["the law", "--sae", "nothing"], "ato run saes"),
        ([" "], "the prompt is empty"),
        (["the law", "--against", "e"], "one target"),
    ],
)
def test_mistakes_are_one_line(base, words, message):
    refused = command(base, "graph", *words)
    assert refused.exit_code != 0
    assert message in str(refused.exception)
    assert "\n" not in str(refused.exception)


DEATHS = (
    Death("half", "artifacts/graphs/*"),
    Death("before", "graph_nodes/*"),
    Death("after", "graph_edges/*"),
    Death("before", "graph_motifs/*"),
)


def test_graphs_killed_at_four_moments_end_in_the_rows_of_an_undisturbed_run(base, forks, tmp_path):
    what, log = "tests.flows.planted_graphs:run_graphs", tmp_path / "log"
    killed, expected = (tmp_path / name / "warehouse" for name in ("killed", "undisturbed"))
    for root in (killed, expected):
        shutil.copytree(base.folder / "warehouse", root, ignore=shutil.ignore_patterns("locks"))
    assert forks.run(base.settings, expected, log, what=what) == 0, log.read_text()
    for death in DEATHS:
        log.unlink()
        assert forks.run(base.settings, killed, log, death, what) == -signal.SIGKILL, f"{death} {log.read_text()}"
    log.unlink()
    assert forks.run(base.settings, killed, log, what=what) == 0, log.read_text()
    for table in TABLES:
        assert steady_rows(Warehouse(killed), table) == steady_rows(Warehouse(expected), table)


def test_two_dask_workers_write_the_rows_of_one_process(base, workers, tmp_path, monkeypatch):
    found = {}
    for name in ("alone", "workers"):
        shutil.copytree(base.folder / "warehouse", tmp_path / name, ignore=shutil.ignore_patterns("locks"))
        monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / name))
        if name == "alone":
            run_graphs(base.settings)
        else:
            workers.use(tmp_path / name)
            graphs(workers.do(base.settings), base.collection, base.saes)
        found[name] = {table: steady_rows(Warehouse(), table) for table in TABLES}
    assert found["workers"] == found["alone"]
