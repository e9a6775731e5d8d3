"""``ato doctor``: what is missing or not writable is named with what to do about it."""

from importlib import metadata

from flows.commands import doctor


def test_every_package_is_listed_with_its_version_and_what_is_out_of_range_with_the_range(monkeypatch):
    listed = {name: (ok, what) for name, ok, what, _ in doctor.packages()}
    assert listed["prefect"] == (True, metadata.version("prefect"))
    assert "prefect-dask" in listed
    assert "pytest" not in listed

    def version(name: str) -> str:
        if name in ("prefect-dask", "duckdb"):
            raise metadata.PackageNotFoundError(name)
        return "0.165.0" if name == "fastapi" else "999"

    monkeypatch.setattr(metadata, "version", version)
    listed = {name: (ok, what, cure) for name, ok, what, cure in doctor.packages()}
    assert listed["duckdb"] == (False, "not installed", "make install")
    assert listed["prefect-dask"] == (None, "not installed", "pip install -e '.[dask]'")
    assert listed["fastapi"][0] is False
    assert "<0.151" in listed["fastapi"][1]


def test_a_folder_that_cannot_be_written_is_named_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))

    def refuse(**options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    ok, what, cure = doctor._attempt(doctor._warehouse)
    assert not ok
    assert "Read-only file system" in what
    assert "ATO_WAREHOUSE" in cure
