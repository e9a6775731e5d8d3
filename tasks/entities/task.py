"""Stages of a study of entities, in order: each is skipped where it is complete."""

from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.progress import say
from tasks.engine.study import Study
from tasks.entities.answers import answer_questions
from tasks.entities.interventions import intervene
from tasks.entities.labels import label_entities
from tasks.entities.latents import score_latents
from tasks.entities.residuals import read_residuals
from tasks.entities.sets import make_set
from tasks.entities.stages import entity_study
from tasks.settings import EntitySettings, OperatorSettings

EDITED_SITE = "resid_post"
"""Directions of SAEs of another site are no directions of the residual stream."""


@stage_task("entities")
@one_at_a_time("entities")
def study_entities(
    study: Study, sae_keys: list[str], operators: OperatorSettings, settings: EntitySettings, parts: int = 1
) -> None:
    """Draw entities, ask about them, label them, read their residuals, score features, intervene.

    Args:
        parts: tasks that share the questions and the prompts, each with a model of its own; 1 does all of it here.
    """
    study.check_same_model()
    of = entity_study(study, sae_keys, operators, settings)
    make_set(of)
    answer_questions(of, parts)
    label_entities(of)
    read_residuals(of, parts)
    score_latents(of)
    if not settings.interventions.n_entities:
        return
    if study.row.site == EDITED_SITE:
        intervene(of)
    else:
        say("entities", f"no interventions at {study.row.site}: only the residual stream can be edited")
