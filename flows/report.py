"""Flow ``report``: one HTML file with the study's figures, from the tables as they are."""

import shutil
from pathlib import Path

from prefect import flow

from flows.collect import collect
from flows.settings import Settings
from tasks.report import write_report
from tasks.settings import ReportSettings


@flow(name="report", flow_run_name="report {settings.model.name}")
def report(settings: Settings, collection: str | None = None) -> str:
    """Draw the report of a collection; default: the one that the settings name. Returns the address of the page."""
    return write_report(collection or collect(settings), settings.report)


def make_report(collection: str, output: Path | None = None) -> str:
    """Draw the report of a collection at once, without a flow run, and copy the page to a file if one is named."""
    address = write_report.fn(collection, ReportSettings())
    if output is None:
        return address
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(address, output)
    return str(output)
