"""Flow ``report``: best versions, the published catalog, and an HTML page with the study's figures."""

from flows.engine.forms import DEMO
from flows.engine.inputs import inputs_of
from flows.engine.stage_run import conclude, stage_run
from flows.settings import Settings
from flows.study_flow import study_flow
from tasks.report.publish import publish_results, show_link
from tasks.report.task import write_report


@study_flow("report")
def report(settings: Settings = DEMO, collection: str | None = None) -> str:
    """Publish the results of a collection (default: that of the settings) and draw its report.

    Returns the address of the page.
    """
    (collection,) = inputs_of("report", settings, collection=collection)
    with stage_run("report", settings, collection):
        publish_results(collection)
        address = write_report(collection, settings.report)
    show_link("report", address, "The study's figures on one page")
    conclude("report", settings, collection)
    return address
