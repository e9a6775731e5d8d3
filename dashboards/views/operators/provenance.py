"""Panels of the page ``operators``: provenance of an operator, its lineage, and how to load it."""

import polars as pl
import streamlit as st

from dashboards.ui.panels import code, panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import table

ORIGIN = """with own as (
    select o.operator, o.registry_uri as "registered as", o.path as file, o.source_layer as "source layer",
        o.target_layer as "target layer", o.position_policy as "source position", o.method, o.alpha, o.l1_ratio as "L1 ratio", o.rank,
        o.kept_rank as "kept rank", o.output_weight as "output weight", o.n_train as "train tokens", o.n_test as "test tokens",
        o.n_test_documents as "test documents", o.n_unpaired as "tokens without a source", c.collection, c.model, c.revision,
        c.weights_hash as "hash of the weights", c.corpus, c.site, c.d_model, c.dtype as precision
    from operators as o inner join collections as c using (collection)
    where o.collection = $collection and o.operator = $operator
)
select what, value
from (unpivot (select columns(*)::varchar from own) on columns(*) into name what value value)"""


def origin(**chosen: object) -> None:
    """Registry version, file, model and corpus of an operator, and Python code to load it."""
    panel(
        "Provenance and loading",
        filled(ORIGIN, **chosen),
        _origin,
        note="Baselines are not registered. Paths are relative to the warehouse.",
    )


def _origin(rows: pl.DataFrame) -> None:
    left, right = st.columns([2, 3])
    left.dataframe(rows, hide_index=True, placeholder="–")
    with right:
        code("Load it in Python", _snippet(dict(rows.iter_rows())), language="python")


def _snippet(own: dict[str, str]) -> str:
    folders = ", ".join(f'"{part}"' for part in own["file"].split("/")[1:])
    lines = [
        "import ato",
        "from warehouse import Warehouse",
        "",
        f"operator = ato.load_operator(Warehouse().artifact_path({folders}))",
        f"y_hat = operator(x)  # residuals [n, {own['d_model']}] after block {own['source layer']} -> after block "
        f"{own['target layer']}",
    ]
    if "registered as" in own:
        lines += [
            "",
            "# or the registered version, through MLflow",
            "import mlflow",
            "from warehouse import registry_address",
            "",
            "mlflow.set_tracking_uri(registry_address())",
            f'y_hat = mlflow.pyfunc.load_model("{own["registered as"]}").predict(x)',
        ]
    return "\n".join(lines)


LINEAGE = """with fitted as (
    select r.collection, r.key, r.inputs
    from stage_runs as r inner join operators as o using (collection)
    where r.stage = 'operators' and collection = $collection and o.operator = $operator
        and list_contains(list_transform(r.files, lambda file: file.path), o.path)
)
select case when r.key = f.key then 'fitted by' when list_contains(r.inputs, f.key) then 'read by' else 'made from' end as role,
    r.stage, r.key, array_to_string(r.inputs, ', ') as inputs, r.settings, r.started_at, r.seconds, r.quality, r.flow_run_id
from stage_runs as r inner join fitted as f on r.collection = f.collection
    and (r.key = f.key or list_contains(f.inputs, r.key) or list_contains(r.inputs, f.key))
order by r.started_at, r.key"""


def lineage(**chosen: object) -> None:
    """The runs an operator was made from, the run that fitted it, and the runs that read it."""
    panel(
        "Lineage",
        filled(LINEAGE, **chosen),
        _lineage,
        empty="No completed run lists this operator's file.",
        note="A key identifies a run by its settings and inputs: equal settings give equal keys.",
    )


def _lineage(rows: pl.DataFrame) -> None:
    table(
        rows,
        {
            "settings": st.column_config.JsonColumn("settings", width="large"),
            "seconds": st.column_config.NumberColumn("seconds", format="%.1f"),
            "started_at": st.column_config.DatetimeColumn("started", format="YYYY-MM-DD HH:mm"),
        },
    )
