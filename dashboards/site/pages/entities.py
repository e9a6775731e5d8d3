"""Page ``entities``: which entities the model knows, and the features that separate known from unknown ones."""

from dataclasses import replace

from dashboards.site.declarations import Choice, Page, Panel
from dashboards.views.entities.baselines import BEST_BESIDE_BASELINES
from dashboards.views.entities.classifiers import PREDICTED_CLASSES
from dashboards.views.entities.counts import ENTITIES_BY_LABEL
from dashboards.views.entities.interventions import BESIDE_CONTROLS, DONE
from dashboards.views.entities.layers import SEPARATION
from dashboards.views.entities.one_entity import ENTITIES, ITS_ANSWERS, ITS_FEATURES, ONE_ENTITY
from dashboards.views.entities.ranking import BEST_FEATURES
from dashboards.views.entities.scatter import ACTIVITY
from dashboards.views.entities.transport import CARRIED_FROM_BELOW, CARRIED_OR_COMPUTED

SCORED = {
    "contrast": "contrast = 'known_unknown' desc, contrast",
    "template": "template = 'name' desc, template",
    "position": "position",
    "entity_type": "entity_type = 'all' desc, entity_type",
}
"""What scores are of -> order of its options."""
LATENTS = """select distinct sae || '/' || feature_id as latent,
    direction || ' ' || rank || ': layer ' || target_layer || ', feature ' || feature_id as shown, rank, direction
from entity_latent_transport
where collection = $collection and contrast = $contrast and template = $template and position = $position
order by rank, direction"""
OF_LATENT = CARRIED_FROM_BELOW.sql.replace(
    "sae = $sae and feature_id = $feature_id", "sae || '/' || feature_id = $latent"
)


def _options(name: str) -> str:
    """The values of a choice under those before it."""
    before = "".join(f" and {other} = ${other}" for other in list(SCORED)[: list(SCORED).index(name)])
    words = "' against '" if name == "contrast" else "' '"
    return f"""select {name}, replace({name}, '_', {words}) as shown
from entity_layer_curves
where collection = $collection{before}
group by {name}
order by {SCORED[name]}"""


def _of_entity(panel: Panel) -> Panel:
    return replace(panel, sql=panel.sql.replace("$entity_id", "$entity"))


def page() -> Page:
    """Entities, the features that tell them apart, and one entity."""
    labels = {"contrast": "Contrast", "template": "Prompt", "position": "Position", "entity_type": "Entity type"}
    return Page(
        "entities",
        "Entities",
        "Which entities does the model know, and which features say so?",
        (
            *(Choice(name, label, _options(name)) for name, label in labels.items()),
            Choice("outcome", "Outcome", DONE),
            Choice("latent", "Feature", LATENTS),
            Choice("entity", "Entity", ENTITIES),
        ),
        (
            ENTITIES_BY_LABEL,
            SEPARATION,
            ACTIVITY,
            BEST_BESIDE_BASELINES,
            BEST_FEATURES,
            PREDICTED_CLASSES,
            BESIDE_CONTROLS,
            replace(CARRIED_FROM_BELOW, sql=OF_LATENT),
            CARRIED_OR_COMPUTED,
            *map(_of_entity, (ONE_ENTITY, ITS_ANSWERS, ITS_FEATURES)),
        ),
        needs="entity_knowledge",
        compared="entity:$entity",
    )
