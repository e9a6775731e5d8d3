"""What the page ``sae_study`` is about: the latest study, one of its layers and sites, one of its SAEs."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled

EMPTY = "No SAE study yet: run `ato run sae_study`."
NOT_MEASURED = "Not measured of any SAE here: `ato run sae_study` trains and judges them."
NOT_LOOKED_AT = (
    "Not known of this SAE. `ato run sae_study` looks closer at SAEs that it trained, with the seeds of "
    "`sae_study.looking.seeds`."
)

MEMBERS = """select sae, label, layer, site, target_site, looked_at, source, path, study, is_complete, n_saes, n_judged
from latest_sae_study
where collection = $collection
order by layer, site, target_site nulls first, looked_at desc, is_baseline, architecture, d_sae, k, seed, label, sae"""


def members(collection: str) -> pl.DataFrame:
    """The SAEs of the latest study, those that it looked at first."""
    return ask(filled(MEMBERS, collection=collection))


def chosen_place(collection: str, found: pl.DataFrame) -> dict[str, Any]:
    """Collection, layer, site and target site of transcoders, at first those of most SAEs; all None without a study.

    Transcoders and SAEs of the same site are not compared: the error of the first is that of what they write.
    """
    layers = found["layer"].unique().sort().to_list()
    fields = st.columns(2)
    layer = choose("Layer", "layer", layers, default=_commonest(found["layer"]), where=fields[0])
    own = found.filter(pl.col("layer").eq_missing(layer))
    words = pl.concat_str("site", "target_site", separator=" to ", ignore_nulls=True)
    places = own.select("site", "target_site", words.alias("place"))
    names = places["place"].unique(maintain_order=True).to_list()
    name = choose("Site", "site", names, default=_commonest(places["place"]), where=fields[1])
    chosen = places.filter(pl.col("place").eq_missing(name)).select("site", "target_site").unique()
    site, target_site = chosen.row(0) if len(chosen) else (None, None)
    return {"collection": collection, "layer": layer, "site": site, "target_site": target_site}


def _commonest(values: pl.Series) -> Any:
    """The value that most SAEs have, the first of several; None of none."""
    return None if values.is_empty() else values.mode().sort()[0]


def chosen_sae(about: dict[str, Any], found: pl.DataFrame) -> str | None:
    """Key of the SAE that the lower half of the page is about."""
    own = found.filter(*(pl.col(name).eq_missing(about[name]) for name in ("layer", "site", "target_site")))
    names = dict(own.select("sae", "label").rows())
    twice = {label for label in names.values() if list(names.values()).count(label) > 1}
    shown = {sae: f"{label} ({sae})" if label in twice else label for sae, label in names.items()}
    return choose(
        "SAE",
        "studied",
        list(names),
        format=lambda sae: shown.get(sae, sae),
        help="Those that were looked at closer come first",
    )


def incomplete(found: pl.DataFrame) -> None:
    """One line where a study has not been finished."""
    if not found.is_empty() and not found["is_complete"][0]:
        judged, all_ = found["n_judged"][0], found["n_saes"][0]
        st.warning(
            f"Study {plain(found['study'][0])} is not complete: {judged:,} of its {all_:,} SAEs are judged. Run "
            "`ato run sae_study` again, it goes on where it stopped."
        )
