"""Work on a collection clears what is damaged, so that the cure of the message, to run again, works."""

from pathlib import Path

import pytest

from ato.errors import DamagedFileError
from tasks.engine.exclusive import exclusive
from tasks.engine.looking import looking
from tests.warehouse.small_warehouse import COLLECTION, build
from warehouse.catalog.catalog import rows
from warehouse.storage.manifests import manifest_path, stage_problem


@pytest.fixture
def store(tmp_path):
    return build(tmp_path / "warehouse")


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
