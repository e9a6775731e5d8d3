"""Flow ``report``: best versions, the published catalog, and an HTML page with the study's figures."""

from pathlib import Path

from prefect import flow

from ato.errors import DataError
from flows.engine.forms import DEMO, FORM, Profile, chosen, run_name
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from tasks.report.publish import publish_results, show_link
from tasks.report.task import write_report
from tasks.settings import ReportSettings
from warehouse.storage.warehouse import Warehouse


@flow(name="report", flow_run_name=run_name)
def report(settings: Settings = DEMO, collection: str | None = None, profile: Profile = FORM) -> str:
    """Publish the results of a collection (default: that of the settings) and draw its report.

    Returns the address of the page.
    """
    settings = chosen(settings, profile)
    (collection,) = inputs_of("report", settings, collection=collection)
    with stage_run("report", settings, collection):
        publish_results(collection)
        address = write_report(collection, settings.report)
    show_link("report", address, "The study's figures on one page")
    conclude("report", settings, collection)
    return address


def make_report(collection: str, output: Path | None = None) -> str:
    """Draw the report of a collection now, without a flow run, and copy the page to ``output`` if given; returns its address."""
    address = write_report.fn(collection, ReportSettings())
    if output is None:
        return address
    output.parent.mkdir(parents=True, exist_ok=True)
    warehouse = Warehouse()
    page = warehouse.storage.read(address.removeprefix(f"{warehouse.root}/"))
    if page is None:
        raise DataError(
            "the report was removed while it was being copied", where=address, cure="draw it again: ato report"
        )
    output.write_bytes(page)
    return str(output)
