"""The stage ``graphs`` on a tiny model: books balance in the tables, files hold what rows hold, nothing is made twice."""

import pytest

from flows.settings import Settings
from tasks.graphs.task import make_graphs
from tests.tasks.graphs.small_graphs import collected, graph_settings
from warehouse.catalog.catalog import rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, collection and SAEs of a run; the warehouse is the one of the environment meanwhile."""
    folder = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = graph_settings(folder)
        collection, saes = collected(settings)
        keys = graphs(settings, collection, saes)
        yield settings, collection, saes, keys


def graphs(settings: Settings, collection: str, saes: list[str], **changes: object) -> list[str]:
    return make_graphs.fn(settings.study(collection), saes, settings.graphs.model_copy(update=changes))


def test_each_prompt_has_an_attribution_and_a_transport_graph(study):
    found = rows(None, "select graph, kind, n_features, conservation from graphs order by graph, kind")
    print(found)
    assert len(found) == 6
