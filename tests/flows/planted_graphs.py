"""Graphs as a plain function, on the collection, SAEs and operators that are there: what a killed run resumes."""

from flows.settings import Settings


def run_graphs(settings: Settings) -> None:
    """The stage ``graphs``."""
    from tasks.graphs.task import make_graphs
    from warehouse.catalog.catalog import rows

    found = rows(None, "select collection, sae from saes order by layer")
    make_graphs.fn(settings.study(found[0]["collection"]), [row["sae"] for row in found], settings.graphs)
