"""The flow ``fate`` on a tiny model: shown, checked, killed and resumed, shared out."""

import shutil
import signal
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.fate import fate
from tests.flows.forked_stages import Death
from tests.flows.planted_fates import run_fate
from tests.flows.test_fault_injection import steady_rows
from tests.tasks.fate.planted_lives import planted_study
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]
TABLES = ("feature_links", "feature_ablations")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A collection with all that the stage reads; ATO_WAREHOUSE points at it while the module runs."""
    folder = tmp_path_factory.mktemp("fate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        study = planted_study(folder)
        yield SimpleNamespace(folder=folder, settings=study.settings, collection=study.collection, saes=study.saes)


def copied(base: SimpleNamespace, root):
    shutil.copytree(base.folder / "warehouse", root, ignore=shutil.ignore_patterns("locks"))
    return root


def test_the_flow_follows_features_and_show_counts_their_fates(base, tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(copied(base, tmp_path / "warehouse")))
    fate(base.settings, base.collection, base.saes)
    assert rows(None, "select count(*) as n from feature_ablations")[0]["n"] == 3 * 3 * 4
    shown = CliRunner().invoke(app, ["show", "fate"])
    assert shown.exit_code == 0, shown.output
    assert "disagreeing" in shown.output
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


DEATHS = (
    Death("half", "feature_links/*"),
    Death("before", "feature_ablations/*"),
    Death("after", "feature_ablations/*"),
)


def test_killed_at_three_moments_it_ends_in_the_rows_of_an_undisturbed_run(base, forks, tmp_path):
    what, log = "tests.flows.planted_fates:run_fate", tmp_path / "log"
    killed, expected = (copied(base, tmp_path / name / "warehouse") for name in ("killed", "undisturbed"))
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
        monkeypatch.setenv("ATO_WAREHOUSE", str(copied(base, tmp_path / name)))
        if name == "alone":
            run_fate(base.settings)
        else:
            workers.use(tmp_path / name)
            fate(workers.do(base.settings), base.collection, base.saes)
        found[name] = {table: steady_rows(Warehouse(), table) for table in TABLES}
    assert found["workers"] == found["alone"]
