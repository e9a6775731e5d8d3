"""Page ``sae_study``: many SAEs compared and watched in training, or one of them looked into."""

from functools import partial
from typing import Any

import streamlit as st

from ato.models.sites import SITES
from dashboards.ui.address import choose, collection
from dashboards.ui.declared_panel import draw_panel
from dashboards.ui.navigation import link
from dashboards.ui.panels import beside
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.views.sae_study.about import chosen_place, chosen_sae, incomplete, members
from dashboards.views.sae_study.activations import activations
from dashboards.views.sae_study.agreement import agreement
from dashboards.views.sae_study.attribution import attribution
from dashboards.views.sae_study.clusters import clusters
from dashboards.views.sae_study.comparison import comparison
from dashboards.views.sae_study.density import density, density_over_training
from dashboards.views.sae_study.emergence import emergence, events, fates, summary
from dashboards.views.sae_study.families import families
from dashboards.views.sae_study.feature_map import feature_map
from dashboards.views.sae_study.frontiers import FRONTIERS
from dashboards.views.sae_study.innovations import innovations
from dashboards.views.sae_study.probing import probing
from dashboards.views.sae_study.spread import spread
from dashboards.views.sae_study.training import training

IN_SAES = """select w.sae, s.label, s.layer, s.site, s.target_site, s.path
from latest_sae_study as s
left join saes as w
    on w.collection = s.collection and w.weights_hash = s.weights_hash and w.layer = s.layer and w.site = s.site
where s.collection = $collection and s.sae = $sae
order by w.sae"""


ALL, ONE = "All SAEs", "One SAE"


def page() -> None:
    """Draw the page: the comparison of a layer, or one of its SAEs, at first where the address names one."""
    key = collection()
    found = members(key)
    incomplete(found)
    first = ONE if "studied" in st.query_params else ALL
    part = choose("Part", "part", (ALL, ONE), default=first, widget="segmented_control")
    about = chosen_place(key, found)
    if part == ALL:
        _compared(about)
    else:
        _one(about | {"sae": chosen_sae(about, found)})


def _compared(about: dict[str, Any]) -> None:
    comparison(about)
    beside(*(partial(draw_panel, declared, **about) for declared in FRONTIERS.values()))
    spread(about)
    innovations(about["collection"])
    beside(lambda: training(about), lambda: agreement(about))
    emergence(about)
    summary(about)


def _one(own: dict[str, Any]) -> None:
    _elsewhere(own)
    beside(lambda: density(own), lambda: density_over_training(own))
    probing(own)
    beside(lambda: events(own), lambda: fates(own))
    feature_map(own)
    activations(own)
    beside(lambda: clusters(own), lambda: attribution(own))
    families(own)


def _elsewhere(own: dict[str, Any]) -> None:
    """Links to the features of the chosen SAE, or how they get a page."""
    link("SAEs of the collection", "saes")
    rows = ask(filled(IN_SAES, **own))
    if rows.is_empty():
        return
    sae, site, layer, path = (rows[name][0] for name in ("sae", "site", "layer", "path"))
    if sae is not None:
        link("Features of this SAE: examples, steering, transport", "features", sae=sae)
    elif site not in SITES:
        st.caption(
            "Examples, logit lens and steering are those of SAEs of residuals: features of innovations have no page."
        )
    elif rows["target_site"][0] is not None:
        st.caption("Examples, logit lens and steering are those of SAEs: features of a transcoder have no page.")
    else:
        where = "" if site == "resid_post" else f" of a collection with `collect.site={plain(site)}`"
        st.caption(
            f"For examples, logit lens and transport of its features name it under `saes.paths`{where} (layer {layer}: "
            f"{plain(path)} in the warehouse), then run `ato run saes` and `ato run features`."
        )
