"""Stage ``entity_latents``: features that separate two classes, chosen on train entities and judged on test entities."""

from tasks.engine.progress import Progress, say
from tasks.entities.contrasts import Contrast, contrasts
from tasks.entities.latent_rows import write_contrast, write_nothing
from tasks.entities.scored import score_contrast
from tasks.entities.stages import EntityStudy


def score_latents(of: EntityStudy) -> None:
    """Score all latents for every contrast, unless it was done."""
    if of.latents.skip():
        return
    of.study.check_layers([sae.layer for sae in of.saes])
    found = [contrast for contrast in contrasts(of) if _has_both(contrast)]
    with of.latents as stage, Progress("entity latents", max(1, len(found)), "contrasts") as progress:
        if not found:
            write_nothing(stage)
        for contrast in found:
            scored = score_contrast(contrast)
            write_contrast(stage, scored)
            progress.advance()


def _has_both(contrast: Contrast) -> bool:
    if not contrast.groups.comparable:
        say("entities", f"{contrast}: no type has {contrast.classes} train entities, left out")
    return contrast.groups.comparable
