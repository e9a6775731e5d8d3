"""A finished study for the commands that read one, written row by row: no flow has to run."""

from dataclasses import replace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ato.saes import save_sae
from flows.cli import app
from tests.dashboards.whole_study import build_whole_study
from tests.tasks.scored_study import add_sae, collected, random_sae
from tests.warehouse.small_warehouse import COLLECTION, build
from warehouse.catalog.materialise import materialise
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="session")
def study_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("commands") / "warehouse"
    assert materialise(build_whole_study(root), COLLECTION), "as every flow leaves it"
    return root


@pytest.fixture
def study(study_root, monkeypatch) -> str:
    """Key of the study's collection; it is only read."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(study_root))
    return COLLECTION


@pytest.fixture
def sound(tmp_path, monkeypatch):
    """A small warehouse of the test's own in which every expectation holds."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    return build(tmp_path / "warehouse")


@pytest.fixture(scope="session")
def steering_root(tmp_path_factory):
    """A folder with a warehouse of a tiny collection, two random SAEs, a folder of a third, and a profile."""
    folder = tmp_path_factory.mktemp("steering")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings, collection = collected(folder)
        for layer in (2, 3):
            add_sae(Warehouse(), collection, layer, random_sae(layer))
    placed = replace(random_sae(9), metadata={"hook_name": "blocks.1.hook_resid_post"})
    save_sae(placed, folder / "own_sae")
    save_sae(random_sae(9), folder / "sae_of_nowhere")
    save_sae(random_sae(9, d=8), folder / "narrow_sae")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    return folder


@pytest.fixture
def steered(steering_root, monkeypatch):
    """A function that runs a command of ``ato`` on that warehouse."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(steering_root / "warehouse"))

    def run(*arguments: str) -> Any:
        given = [a.replace("FOLDER", str(steering_root)) for a in arguments]
        return CliRunner().invoke(app, [*given, "--profile", str(steering_root / "tiny.yaml")])

    return run
