"""All panels of the report in one list."""

from tasks.report.panels import Panel, Scope
from tasks.report.task import report_parts
from tasks.settings import ReportSettings


def report_panels(scope: Scope, settings: ReportSettings) -> list[Panel]:
    """The panels of all parts, in the order of the page."""
    return [panel for panels in report_parts(scope, settings).values() for panel in panels]
