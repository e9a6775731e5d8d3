"""Page ``sae_study``: many SAEs compared, watched in training, and looked into."""

from dashboards.site.declarations import Choice, Page
from dashboards.views.sae_study.activations import ON_TOKENS
from dashboards.views.sae_study.agreement import SEED_AGREEMENT
from dashboards.views.sae_study.attribution import GRADIENT_AND_ABLATION
from dashboards.views.sae_study.clusters import CLUSTERS_OF_FEATURES
from dashboards.views.sae_study.comparison import EVERY_SAE
from dashboards.views.sae_study.density import RATES_OF_SAE, RATES_OVER_TRAINING
from dashboards.views.sae_study.emergence import EMERGED_BORN_DIED, EMERGENCE, SPLIT_AND_DRIFTED, WHAT_BECAME
from dashboards.views.sae_study.families import ALIKE_AND_ACTIVE, FAMILIES
from dashboards.views.sae_study.feature_map import FEATURE_MAP
from dashboards.views.sae_study.frontiers import FRONTIERS
from dashboards.views.sae_study.innovations import INNOVATION_AND_PLAIN
from dashboards.views.sae_study.probing import CLASSES_OF_SAE, PROBES_OF_SAES
from dashboards.views.sae_study.spread import IS_ONE_BETTER, NAMES
from dashboards.views.sae_study.training import TRAINING_CURVES

OF_PLACE = """collection = $collection and layer = $layer and site = $site
    and target_site is not distinct from $target_site"""
LAYERS = """select layer
from latest_sae_study
where collection = $collection
group by layer
order by count(*) desc, layer"""
SITES = """select site
from latest_sae_study
where collection = $collection and layer = $layer
group by site
order by count(*) desc, site"""
TARGET_SITES = """select target_site, coalesce('to ' || target_site, 'itself')
from latest_sae_study
where collection = $collection and layer = $layer and site = $site
group by target_site
order by target_site nulls first"""
METRICS = f"""select metric, [{", ".join(map(repr, NAMES.values()))}][list_position([{", ".join(map(repr, NAMES))}], metric)] as shown
from sae_frontier
where {OF_PLACE} and better is not null and mean is not null and metric in ({", ".join(map(repr, NAMES))})
group by metric
order by list_position([{", ".join(map(repr, NAMES))}], metric)"""
SAES = f"""select sae, any_value(label)
from latest_sae_study
where {OF_PLACE}
group by sae
order by any_value(looked_at) desc, any_value(is_baseline), any_value(label), sae"""
STRATA = """select distinct stratum
from sae_probing_summary
where collection = $collection and layer = $layer and site = $site and $target_site is null and reader <> 'dense'
order by stratum"""
SIZES = """select distinct k
from sae_probing_summary
where collection = $collection and layer = $layer and site = $site and $target_site is null and reader <> 'dense'
    and stratum = $stratum
order by k"""


def page() -> Page:
    """The comparison of a layer, then one of its SAEs."""
    return Page(
        "sae_study",
        "SAE study",
        "Which sparse autoencoder is better, and what are its features?",
        (
            Choice("layer", "Layer", LAYERS),
            Choice("site", "Site", SITES),
            Choice("target_site", "Rebuilds", TARGET_SITES),
            Choice("metric", "Metric", METRICS),
            Choice("sae", "SAE", SAES),
            Choice("stratum", "Stratum of the probes", STRATA),
            Choice("k", "Features that a probe reads", SIZES),
        ),
        (
            EVERY_SAE,
            *FRONTIERS.values(),
            IS_ONE_BETTER,
            INNOVATION_AND_PLAIN,
            TRAINING_CURVES,
            SEED_AGREEMENT,
            EMERGENCE,
            WHAT_BECAME,
            RATES_OF_SAE,
            RATES_OVER_TRAINING,
            PROBES_OF_SAES,
            CLASSES_OF_SAE,
            EMERGED_BORN_DIED,
            SPLIT_AND_DRIFTED,
            FEATURE_MAP,
            ON_TOKENS,
            CLUSTERS_OF_FEATURES,
            GRADIENT_AND_ABLATION,
            FAMILIES,
            ALIKE_AND_ACTIVE,
        ),
        needs="latest_sae_study",
        compared="sae:$sae",
    )
