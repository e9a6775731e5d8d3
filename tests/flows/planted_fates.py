"""The stage ``fate`` as a plain function, on what is in the warehouse: what a killed run resumes."""

from flows.settings import Settings


def run_fate(settings: Settings) -> None:
    """The stage ``fate``."""
    from tasks.fate.stages import FatePlan
    from tasks.fate.task import follow_features
    from warehouse.catalog.catalog import rows

    found = rows(None, "select collection, sae from saes order by layer")
    plan = FatePlan(settings.operators, settings.evaluate, settings.fate)
    follow_features.fn(settings.study(found[0]["collection"]), [row["sae"] for row in found], plan)
