"""``ato report``: the report of a collection, drawn now, without a flow run."""

from pathlib import Path

from ato.errors import DataError
from tasks.report.task import write_report
from tasks.settings import ReportSettings
from tasks.settings.report import Features
from warehouse.storage.warehouse import Warehouse


def make_report(collection: str, output: Path | None = None, features: Features = "all") -> str:
    """Draw the report, and copy the page to ``output`` if given; returns the address of the page.

    Args:
        features: over which features its maps and figures average.

    Raises:
        DataError: someone removed the report while it was being copied.
    """
    address = write_report.fn(collection, ReportSettings(features=features))
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
