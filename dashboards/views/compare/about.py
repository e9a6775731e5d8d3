"""Which comparison, pair and SAE the lower half of the page ``compare`` is about."""

from typing import Any

import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.reading import ask, filled

EMPTY = "Nothing was compared yet: `ato run compare --set compare.models=[NAME]`."
COMPARED = """select place, other_model, other_collection, source_layer, target_layer, sae
from latest_comparisons where collection = $collection order by place, source_layer, target_layer, sae"""


def chosen(collection: str) -> dict[str, Any]:
    """``collection``, ``other``, ``source_layer``, ``target_layer`` and ``sae`` as chosen; None without a comparison."""
    rows = ask(filled(COMPARED, collection=collection))
    columns = st.columns(3)
    models = dict(rows.select("other_collection", "other_model").unique(maintain_order=True).iter_rows())
    names = list(models.values())
    models = {key: name if names.count(name) == 1 else f"{name}, {key}" for key, name in models.items()}
    other = choose("Other model", "other", list(models), where=columns[0], format=lambda key: models[key])
    rows = rows.filter(rows["other_collection"] == other) if other else rows.clear()
    pairs = [
        f"{source}-{target}"
        for source, target in rows.select("source_layer", "target_layer").unique(maintain_order=True).iter_rows()
    ]
    pair = choose("Layers", "pair", pairs, shown=lambda pair: pair.replace("-", " → "), where=columns[1])
    source, target = map(int, pair.split("-")) if pair else (None, None)
    saes = rows.filter(rows["target_layer"] == target)["sae"].unique(maintain_order=True).to_list() if pair else []
    sae = choose("SAE", "sae", saes, where=columns[2])
    return {"collection": collection, "other": other, "source_layer": source, "target_layer": target, "sae": sae}
