"""``ato check``: a verdict on every file and every expectation."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flows.commands.check import check_warehouse


def test_a_sound_warehouse_passes(sound, capsys):
    assert check_warehouse()
    assert "checks passed" in capsys.readouterr().out


def test_a_value_replaced_by_nan_fails_loudly(sound, capsys):
    path = next(Path(sound.root, "operators").rglob("*.parquet"))
    table = pq.ParquetFile(path).read()
    values = [float("nan"), *table["r2_test"].to_pylist()[1:]]
    at = table.schema.get_field_index("r2_test")
    pq.write_table(table.set_column(at, "r2_test", pa.array(values, pa.float64())), path)
    assert not check_warehouse()
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "r2_test" in out
    assert "To repair" in out


def test_a_cut_file_needs_a_run_and_an_altered_one_is_deleted_first(sound, capsys):
    files = sorted(Path(sound.root, "operators").rglob("*.parquet"))
    cut, altered = files[0], next(Path(sound.root, "saes").rglob("*.parquet"))
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    assert not check_warehouse()
    out = capsys.readouterr().out
    assert "To repair: run the `ato run` that made the missing or cut files again" in out
    assert "delete" not in out
    cut.write_bytes(whole)
    data = bytearray(altered.read_bytes())
    data[len(data) // 2] ^= 1
    altered.write_bytes(data)
    assert not check_warehouse()
    out = capsys.readouterr().out
    assert "To repair: delete the files that were altered but kept their size" in out
    assert "missing or cut" not in out


def test_nothing_is_no_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    assert check_warehouse()
    assert "start with `ato run pipeline`" in capsys.readouterr().out
