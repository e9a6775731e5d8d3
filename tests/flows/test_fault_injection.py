"""kill -9 at any moment, and two runs at once: the tables are those of one undisturbed run, byte for byte."""

import os
import shutil
import signal
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest

from ato.errors import DamagedFileError
from flows.commands.gc import collect_garbage
from tests.flows.forked_stages import SMALL, Death
from tests.flows.tiny_study import tiny_settings
from warehouse.catalog.catalog import rows
from warehouse.catalog.mart_files import FOLDER
from warehouse.maintenance import retention
from warehouse.quality import checks
from warehouse.storage.manifests import manifests
from warehouse.storage.staging import file_sha256
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

DEATHS = (
    Death("half", "warehouse.json"),
    Death("before", "sequences/*", 2),
    Death("model", count=2),
    Death("half", "activations/*"),
    Death("after", "activations/*", 7),
    Death("before", "artifacts/collections/*/shard-*"),
    Death("model", count=4),
    Death("after", "artifacts/collections/*/shard-*", 2),
    Death("half", "quality_results/*"),
    Death("before", "stage_runs/stage=collect/*"),
    Death("after", "stage_runs/stage=collect/*"),
    Death("half", "artifacts/moments/*"),
    Death("before", "stage_runs/stage=moments/*"),
    Death("half", "artifacts/saes/*.safetensors"),
    Death("after", "artifacts/saes/*"),
    Death("after", "stage_runs/stage=sae_weights/*"),
    Death("after", "stage_runs/stage=saes/*"),
    Death("before", "feature_stats/*"),
    Death("half", "feature_scores/*"),
    Death("after", "feature_examples/*"),
    Death("after", "quality_results/*"),
    Death("half", "artifacts/operators/*"),
    Death("run created"),
    Death("run logged"),
    Death("version created", count=2),
    Death("half", "operators/*"),
    Death("after", "stage_runs/stage=operators/*", 2),
    Death("before", "feature_transport/*"),
    Death("after", "stage_runs/stage=evaluate/*"),
    Death("half", "causal_perplexity/*"),
    Death("before", "warehouse.duckdb"),
)
VOLATILE = {name for name, table in TABLES.items() if any(column.volatile for column in table.columns)}
OWN = {"stage_runs", "quality_results"}
"""Tables about the runs: a resumed run checks what is left of a group of stages, so its checks are counted otherwise."""


@pytest.fixture(scope="module")
def undisturbed(forks, tmp_path_factory):
    """Settings, and the warehouse of one run of all stages."""
    folder = tmp_path_factory.mktemp("undisturbed")
    settings = tiny_settings(folder, **SMALL)
    assert forks.run(settings, folder / "data" / "warehouse", folder / "log") == 0, (folder / "log").read_text()
    return settings, Warehouse(folder / "data" / "warehouse")


def parts(warehouse: Warehouse) -> dict[str, str]:
    """SHA-256 of every Parquet file, but of tables that hold clock times, and of marts, which flows make of tables."""
    return {
        path: file_sha256(Path(warehouse.root, path))
        for path in warehouse.storage.entries()
        if path.endswith(".parquet") and path.split("/")[0] not in VOLATILE | OWN | {FOLDER}
    }


def steady_rows(warehouse: Warehouse, name: str) -> list[dict]:
    """The rows of a table, but clock times."""
    steady = [column.name for column in TABLES[name].columns if not column.volatile]
    return rows(warehouse, f"select {', '.join(steady)} from {name} order by {', '.join(TABLES[name].key)}")


def committed(warehouse: Warehouse) -> list[tuple]:
    """What the manifests promise of tables and artifacts, but files with clock times in them, and but the report's.

    A report is named by the clock times of all stages, and lists no files.
    """
    found = []
    for run in (run for run in manifests(warehouse) if run.stage != "report"):
        files = {f.path: (f.rows, f.sha256) for f in run.files if f.table_name not in VOLATILE | OWN}
        found.append((run.stage, run.key, run.collection, run.inputs, run.settings, run.quality, files))
    return sorted(found, key=lambda row: row[:2])


def assert_same(warehouse: Warehouse, expected: Warehouse) -> None:
    assert parts(warehouse) == parts(expected)
    assert committed(warehouse) == committed(expected)
    for name in VOLATILE - OWN:
        assert steady_rows(warehouse, name) == steady_rows(expected, name)
    assert {
        path for path in warehouse.storage.entries() if path.startswith("artifacts/") and "/mlflow/" not in path
    } == {path for path in expected.storage.entries() if path.startswith("artifacts/") and "/mlflow/" not in path}


@pytest.mark.slow
def test_runs_killed_at_thirty_points_end_in_the_bytes_of_an_undisturbed_one(forks, undisturbed, tmp_path, monkeypatch):
    settings, expected = undisturbed
    folder, log = tmp_path / "data" / "warehouse", tmp_path / "log"
    for death in DEATHS:
        log.unlink(missing_ok=True)
        assert forks.run(settings, folder, log, death) == -signal.SIGKILL, f"{death} {log.read_text()}"
    assert forks.run(settings, folder, log) == 0, log.read_text()
    warehouse = Warehouse(folder)
    assert warehouse.storage.leftovers()
    monkeypatch.setenv("ATO_WAREHOUSE", str(folder))
    collect_garbage(yes=True)
    assert not [path for path in folder.parent.rglob("*") if ".staging-" in path.name]
    assert not retention.plan(warehouse).removals
    assert_same(warehouse, expected)
    assert not checks.failures(checks.check_all(warehouse))


def wait_for(text: str, log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not log.exists() or text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "nothing was printed"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("first_dies", [False, True])
def test_a_second_run_of_the_same_key_waits_for_the_first_and_then_skips_or_resumes(
    forks, undisturbed, tmp_path, first_dies
):
    settings, expected = undisturbed
    folder, gate = tmp_path / "data" / "warehouse", tmp_path / "gate"
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    first = forks.start(settings, folder, logs[0], gate=str(gate))
    wait_for("loading", logs[0])
    while not (folder / "locks").exists():
        time.sleep(0.01)
    second = forks.start(settings, folder, logs[1])
    wait_for(f"waiting for another run (process {first} on", logs[1])
    if first_dies:
        os.kill(first, signal.SIGKILL)
    gate.touch()
    assert forks.wait(second) == 0, logs[1].read_text()
    assert forks.wait(first) == (-signal.SIGKILL if first_dies else 0), logs[0].read_text()
    assert ("is complete, skipped" in logs[1].read_text().split("waiting for another run")[1]) != first_dies
    assert_same(Warehouse(folder), expected)
    assert not list((folder / "locks").iterdir())
    assert not checks.failures(checks.check_all(Warehouse(folder)))


TABLE_DAMAGES = {
    "feature_scores/*": lambda file: os.truncate(file, 100),
    "operators/*": lambda file: file.unlink(),
    "sequences/*": lambda file: file.write_bytes(b""),
    "causal_perplexity/*": lambda file: file.write_bytes(b"\0" * file.stat().st_size),
}
ARTIFACT_DAMAGES = ("artifacts/saes/*.safetensors", "artifacts/moments/*", "artifacts/operators/*.safetensors")


def test_the_cure_of_every_message_about_a_damaged_file_makes_it_again(forks, undisturbed, tmp_path):
    settings, expected = undisturbed
    shutil.copytree(Path(expected.root).parent, tmp_path / "data")
    copy = Warehouse(tmp_path / "data" / "warehouse")

    def first(pattern: str) -> Path:
        return Path(copy.root, min(path for path in copy.storage.entries() if fnmatch(path, pattern)))

    for pattern, damage in TABLE_DAMAGES.items():
        damage(first(pattern) if "operators" not in pattern else first("operators/*.parquet"))
        with pytest.raises(DamagedFileError) as error:
            rows(copy, f"from {pattern.removesuffix('/*')}")
        assert "run the `ato run` that made it again" in (error.value.cure or str(error.value))
        if "remove this file" in str(error.value):  # what the size does not tell
            first(pattern).unlink()
    for pattern in ARTIFACT_DAMAGES:
        os.truncate(first(pattern), 20)
    first("stage_runs/stage=saes/*").write_bytes(b"")
    with pytest.raises(DamagedFileError, match="`ato run` that made it again"):
        rows(copy, "from saes")
    with pytest.raises(DamagedFileError, match="run the command that wrote it again"):
        retention.plan(copy)
    assert forks.run(settings, Path(copy.root), tmp_path / "log") == 0, (tmp_path / "log").read_text()
    made, intended = parts(copy), parts(expected)
    assert set(made) == set(intended)
    # Interventions of one pair alone are batched otherwise than those of all: equal to rounding, not in each byte.
    assert all(made[name] == intended[name] for name in made if not name.startswith("causal_"))
    files = [file for run in manifests(copy) for file in run.files]
    assert not copy.damage(files)
    assert all(rows(copy, f"select count(*) as n from {table}") for table in TABLES)
