"""The order of the packages: import-linter holds it in `make test`; here, that no module imports itself by a detour."""

from graphlib import TopologicalSorter

import grimp
import pytest


@pytest.mark.parametrize("room", ["ato", "tasks", "flows", "warehouse", "dashboards"])
def test_no_room_has_an_import_circle(room):
    graph = grimp.build_graph(room)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert any(imports.values())
    order = list(TopologicalSorter(imports).static_order())  # CycleError names the modules of a circle
    assert set(order) == graph.modules
