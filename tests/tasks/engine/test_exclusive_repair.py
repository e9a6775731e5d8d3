"""Work on a collection clears what is damaged, so that the cure of the message, to run again, works."""

import os
from pathlib import Path

import pytest

from ato.errors import DamagedFileError
from tasks.engine.exclusive import exclusive
from tasks.engine.looking import looking
from tests.warehouse.small_warehouse import COLLECTION, STARTED, build, collect_rows
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.manifests import commit, manifest_path, stage_problem
from warehouse.storage.warehouse import Warehouse


@pytest.fixture
def store(tmp_path):
    found = build(tmp_path / "warehouse")
    found.write_rows("quality_results", [], "saes-saes-1", collection=COLLECTION)  # named by its key, as stages do
    return found


@pytest.mark.parametrize("content", [b"", b"PAR1", b"\0" * 5000])
def test_a_manifest_that_cannot_be_read_is_removed_by_the_next_run_and_its_stage_runs_again(content, store):
    path = manifest_path("saes", "saes-1")
    Path(store.root, path).write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"manifest cannot be read.*`ato run` that made it again"):
        rows(store, "from operators")
    with looking([]), exclusive(store, "operators", COLLECTION):
        assert Path(store.root, path).exists()  # a look changes nothing
    with exclusive(store, "operators", COLLECTION):
        assert len(rows(store, "from operators")) == 1
    assert stage_problem(store, "saes", "saes-1") == "never completed"
    assert stage_problem(store, "operators", "operators-1") is None


def test_a_file_of_its_size_with_other_content_is_removed_when_work_meets_it(store):
    file = next(Path(store.root, "operators").rglob("*.parquet"))
    file.write_bytes(b"\0" * file.stat().st_size)
    assert stage_problem(store, "operators", "operators-1") is None
    with pytest.raises(DamagedFileError, match="remove this file, then run the `ato run` that made it again"):
        rows(store, "from operators")
    with pytest.raises(DamagedFileError), exclusive(store, "evaluate", COLLECTION):
        rows(store, "from operators")
    assert not file.exists()
    assert "missing" in (stage_problem(store, "operators", "operators-1") or "")
    assert all(stage_problem(store, stage, f"{stage}-1") is None for stage in ("collect", "saes", "evaluate"))


def test_a_run_leaves_the_damaged_manifest_of_another_collection_and_is_not_stopped_by_it(store):
    row = collect_rows()["collections"][0] | {"collection": "other"}
    other = store.write_rows("collections", [row], "other", collection="other")
    commit(store, "collect", "other", collection="other", settings={}, files=[other], started_at=STARTED, seconds=1.0)
    lost = Path(store.root, manifest_path("collect", "other"))
    lost.write_bytes(b"")
    own = Warehouse(store.root, only=COLLECTION)
    with exclusive(own, "operators", COLLECTION):
        assert [row["collection"] for row in rows(own, "from collections")] == [COLLECTION]
    assert lost.exists()
    with pytest.raises(
        DamagedFileError, match=r"part-other.*manifest cannot be read.*: run the `ato run` that made it"
    ):
        rows(store, "from collections")
    with exclusive(store, "collect", "other"):  # the cure
        assert not lost.exists()


def test_a_manifest_of_nobody_is_an_error_whose_cure_is_to_remove_it(store):
    lost = Path(store.root, manifest_path("saes", "saes-2"))
    lost.write_bytes(b"")
    with exclusive(store, "operators", COLLECTION), pytest.raises(DamagedFileError, match="remove this file, then run"):
        rows(store, "from operators")
    lost.unlink()
    assert len(rows(store, "from operators")) == 1


def test_damaged_sequences_are_a_damaged_file(store):
    file = next(Path(store.root, "sequences").rglob("*.parquet"))
    os.truncate(file, file.stat().st_size - 9)
    with pytest.raises(DamagedFileError):
        stored_sequences(store, COLLECTION)
