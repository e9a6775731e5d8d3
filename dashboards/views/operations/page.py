"""Page ``operations``: what the warehouse holds, how it was made, how fresh it is; links to Prefect and MLflow."""

import os

import streamlit as st

from dashboards.ui.address import collection
from dashboards.views.operations.contents import all_collections, disk_use, this_collection, tokens
from dashboards.views.operations.lineage import lineage
from dashboards.views.operations.runs import benchmarks, latest_runs, quality, stages


def page() -> None:
    """Draw the page."""
    key = collection()
    _links()
    this_collection(key)
    lineage(key)
    stages(key, _flow_runs())
    left, right = st.columns(2)
    with left:
        tokens(key)
    with right:
        disk_use(key)
    quality(key)
    latest_runs(key, _flow_runs())
    all_collections()
    benchmarks()


def _links() -> None:
    """Links to Prefect and MLflow, where `ato up` or the environment gives their addresses."""
    registry = os.environ.get("ATO_MLFLOW_UI")
    models = f"{registry.rstrip('/')}/#/models" if registry else None  # not the empty page of experiments
    found = {"Runs in Prefect": _prefect(), "Operators in MLflow": models}
    known = {label: address for label, address in found.items() if address}
    if known:
        with st.container(horizontal=True):
            for label, address in known.items():
                st.link_button(label, address, icon=":material/open_in_new:")


def _prefect() -> str | None:
    """Link to the Prefect UI, to which a path may be added; None if unknown. That of `ato up` holds a key."""
    known = ("ATO_PREFECT_UI", "PREFECT_UI_URL")
    address = next(filter(None, map(os.environ.get, known)), os.environ.get("PREFECT_API_URL", "").removesuffix("/api"))
    return address.rstrip("/") or None


def _flow_runs() -> str | None:
    """Link to a flow run in the Prefect UI, up to the run's id; None if unknown."""
    return None if (address := _prefect()) is None else f"{address}/runs/flow-run/"
