"""Page ``entities``: which entities the model knows, and the features that tell known from unknown ones."""

import polars as pl
import streamlit as st

from dashboards.ui.address import choose, collection
from dashboards.ui.reading import ask, filled
from dashboards.views.entities.baselines import baselines
from dashboards.views.entities.counts import counts
from dashboards.views.entities.interventions import interventions
from dashboards.views.entities.layers import layers
from dashboards.views.entities.one_entity import one_entity
from dashboards.views.entities.ranking import ranking
from dashboards.views.entities.scatter import scatter
from dashboards.views.entities.transport import transport

CONTRASTS = "`known_unknown` compares entities, `correct_wrong` answers: where the question ends, before the answer."

SCORED = """select distinct contrast, template, position, entity_type
from entity_layer_curves
where collection = $collection
order by contrast = 'known_unknown' desc, contrast, template = 'name' desc, template, position, entity_type = 'all' desc, entity_type"""


def page() -> None:
    """Draw the page."""
    key = collection()
    counts(key)
    about = _chosen(key)
    layers(about)
    left, right = st.columns([2, 3])
    with left:
        scatter(about)
    with right:
        baselines(about)
    ranking(about)
    interventions(key)
    transport(about)
    one_entity(about)


def _chosen(key: str) -> dict[str, object]:
    """Collection, contrast, template, position and entity type; each None where nothing was scored."""
    scored = ask(filled(SCORED, collection=key))
    chosen: dict[str, object] = {"collection": key}
    fields = st.columns(4)
    labels = {"contrast": "Contrast", "template": "Prompt", "position": "Position", "entity_type": "Entity type"}
    for (name, label), field in zip(labels.items(), fields):
        options = scored[name].unique(maintain_order=True).to_list()
        chosen[name] = choose(label, name, options, where=field, help=CONTRASTS if name == "contrast" else None)
        scored = scored.filter(pl.col(name).eq_missing(chosen[name]))
    return chosen
