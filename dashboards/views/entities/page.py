"""Page ``entities``: which entities the model knows, and the features that separate known from unknown ones."""

from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.address import choose, collection, spaced
from dashboards.ui.declared_panel import draw_panel
from dashboards.ui.reading import ask, filled
from dashboards.views.entities.baselines import BEST_BESIDE_BASELINES, draw_baselines
from dashboards.views.entities.classifiers import of_classes
from dashboards.views.entities.counts import ENTITIES_BY_LABEL, classes, draw_counts
from dashboards.views.entities.interventions import interventions
from dashboards.views.entities.layers import SEPARATION, draw_layers
from dashboards.views.entities.one_entity import one_entity
from dashboards.views.entities.ranking import BEST_FEATURES, draw_ranking
from dashboards.views.entities.scatter import ACTIVITY, draw_activity
from dashboards.views.entities.transport import transport

CONTRASTS = "Known against unknown compares entities; correct against wrong, answers: where the question ends, before the answer."
SHOWN = {"contrast": lambda name: name.replace("_", " against ", 1)}
"""Choice -> how its options are shown; those of others have spaces for underscores."""

SCORED = """select distinct contrast, template, position, entity_type
from entity_layer_curves
where collection = $collection
order by contrast = 'known_unknown' desc, contrast, template = 'name' desc, template, position, entity_type = 'all' desc, entity_type"""


OTHER_SETS = """select distinct kind, entity_set
from latest_entity_results
where collection = $collection and is_latest and not of_latest_set and kind in ('latents', 'interventions')
order by kind desc, entity_set"""
KINDS = {"latents": "feature scores", "interventions": "interventions"}


def page() -> None:
    """Draw the page."""
    key = collection()
    draw_panel(ENTITIES_BY_LABEL, draw_counts, collection=key)
    _other_sets(key)
    about = _chosen(key)
    named = classes(about)
    draw_panel(SEPARATION, draw_layers, **about)
    left, right = st.columns([2, 3])
    with left:
        draw_panel(ACTIVITY, partial(draw_activity, *named), **about)
    with right:
        draw_panel(BEST_BESIDE_BASELINES, partial(draw_baselines, *named), **about)
    draw_panel(BEST_FEATURES, partial(draw_ranking, *named), **about)
    draw_panel(of_classes(*named), **about)
    interventions(key)
    transport(about)
    one_entity(about)


def _other_sets(key: str) -> None:
    """One line where what stands below is of other entities than those counted above."""
    found = ask(filled(OTHER_SETS, collection=key)).rows()
    if found:
        told = "; ".join(f"{KINDS[kind]} of `{entity_set}`" for kind, entity_set in found)
        st.warning(f"Of another set of entities than the one counted above, the latest of their kind: {told}.")


def _chosen(key: str) -> dict[str, object]:
    """Collection, contrast, template, position and entity type; each None where nothing was scored."""
    scored = ask(filled(SCORED, collection=key))
    chosen: dict[str, object] = {"collection": key}
    fields = st.columns(4)
    labels = {"contrast": "Contrast", "template": "Prompt", "position": "Position", "entity_type": "Entity type"}
    for (name, label), field in zip(labels.items(), fields):
        options = scored[name].unique(maintain_order=True).to_list()
        chosen[name] = choose(
            label,
            name,
            options,
            shown=SHOWN.get(name, spaced),
            where=field,
            help=CONTRASTS if name == "contrast" else None,
        )
        scored = scored.filter(pl.col(name).eq_missing(chosen[name]))
    return chosen
