"""The stage ``label`` on planted features: windows, trials and scores are what the plan says, whoever judges."""

import pytest

from flows.settings import Settings
from tasks.label.task import label_features
from tests.tasks.label.planted_study import DEAD, PLACES, WORD, collected, planted_settings
from warehouse.catalog.catalog import rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, collection and SAE of a labelled study; the warehouse is the one of the environment meanwhile."""
    folder = tmp_path_factory.mktemp("labelled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = planted_settings(folder)
        collection, sae = collected(settings)
        label(settings, collection, sae)
        yield settings, collection, sae


def label(settings: Settings, collection: str, sae: str, **changes: object) -> list[str]:
    return label_features.fn(settings.study(collection), [sae], settings.label.model_copy(update=changes))


def test_a_word_is_described_and_found_a_place_is_not_and_a_dead_feature_says_why(study):
    found = {row["feature_id"]: row for row in rows(None, "from feature_labelled")}
    assert "quartz" in found[WORD]["description"]
    assert found[WORD]["detection"] > 0.95
    assert found[WORD]["fuzzing"] > 0.95
    assert found[WORD]["detection_shuffled"] < 0.7
    assert abs(found[PLACES]["detection"] - 0.5) < 0.25
    assert found[PLACES]["failed"]
    assert found[DEAD]["description"] is None
    assert "fires in no train document" in found[DEAD]["reason"]
    assert not found[WORD]["failed"]
