"""Curves in Weights & Biases' offline mode: the library itself writes them; they are read from its file, record by record."""

import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ato.errors import UnavailableError
from flows.engine.environment import QUIET
from flows.judging.sae_study import judge
from flows.settings import load_settings
from tasks.sae_study import tracking
from tasks.settings import SAEStudySettings
from tasks.settings.sae_study import StudiedSAE
from warehouse.storage.warehouse import Warehouse

HEADER, WHOLE = 7, 1
"""Bytes before the first record and before each, and the kind of a record in one piece, of LevelDB's log format."""


def records(file: Path) -> Iterator[bytes]:
    """Of a file of one block (32 KiB)."""
    data, at = file.read_bytes(), HEADER
    assert data[:4] == b":W&B"
    assert len(data) < 32_768
    while at < len(data):
        _, length, kind = struct.unpack_from("<IHB", data, at)
        assert kind == WHOLE
        yield data[at + HEADER : at + HEADER + length]
        at += HEADER + length


def test_the_curve_of_an_sae_is_an_offline_run_whatever_else_is_switched_off(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", QUIET["WANDB_MODE"])
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    settings = SAEStudySettings(training={"track": ["wandb"]})
    study = SimpleNamespace(warehouse=Warehouse(str(tmp_path / "data" / "warehouse")), collection="c")
    weights = SimpleNamespace(key="topk-l1-8.5")
    member = SimpleNamespace(of=StudiedSAE(layer=1, d_sae=24, k=2), label="topk k=2", weights=weights)
    log = [
        {"architecture": "topk", "step": step, "tokens": 10 * step, "loss": 1 / step, "fvu_held_out": held_out}
        for step, held_out in ((1, None), (5, None), (9, 0.25))
    ]
    tracking.track(SimpleNamespace(settings=settings, study=study), [member], [log])
    wandb.teardown()  # its own process closes the file when it ends

    (file,) = (tmp_path / "data" / tracking.WANDB_FOLDER).glob("offline-run-*/run-topk-l1-8-5.wandb")
    history, config = [], {}
    for data in records(file):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            history.append({name: float(value) for name, value in items.items() if name in ("_step", *log[0])})
        elif record.WhichOneof("record_type") == "run":
            assert record.run.display_name == "topk k=2"
            config |= {item.key: item.value_json for item in record.run.config.update}
    expected = [{name: value for name, value in row.items() if value is not None} for row in log]
    for row in expected:
        del row["architecture"]
        row["_step"] = row.pop("step")
    assert history == expected  # what was not measured is missing, no 0
    assert (config["d_sae"], config["k"], config["n_tokens"]) == ("24", "2", str(settings.training.n_tokens))


def test_that_it_is_not_installed_is_said_before_anything_is_trained(monkeypatch):
    tracking.check_tracking(["mlflow", "wandb"] if tracking.find_spec("wandb") else ["mlflow"])
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    tracking.check_tracking(["mlflow"])
    with pytest.raises(UnavailableError, match="not installed") as error:
        tracking.check_tracking(["wandb"])
    assert "sae_study.training.track" in f"{error.value.where} {error.value.cure}"
    settings = load_settings("demo-saes")
    assert not list(judge(settings, None))
    settings.sae_study.training.track.append("wandb")
    (fault,) = judge(settings, None)
    assert fault.setting == "sae_study.training.track"
