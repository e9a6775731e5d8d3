"""Stages of a study of SAEs, in order: each is skipped where it is complete."""

from tasks.collect.strata import document_strata
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.parallel_parts import part_task, run_parts
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.engine.worker_precision import check_worker_precision
from tasks.sae_study.comparison import compare
from tasks.sae_study.looks import look_at, say_how_maps_are_made
from tasks.sae_study.operators import with_operators
from tasks.sae_study.quality import judge
from tasks.sae_study.stages import Member, SAEStudy
from tasks.sae_study.tracking import check_tracking
from tasks.sae_study.weights import check_readable, obtain_weights
from tasks.settings import OperatorSettings, SAEStudySettings


@stage_task("sae_study")
@one_at_a_time("sae_study")
def study_saes(
    study: Study, settings: SAEStudySettings, parts: int = 1, operators: OperatorSettings | None = None
) -> str:
    """Train or load the SAEs, judge them with baselines on the same tokens, look closer at some; returns the study's key.

    Args:
        parts: more than 1 makes a task of each layer; 1 does all of it here.
        operators: which operators the study has, for innovation SAEs that name none; default the default settings.

    Raises:
        InputError: an innovation SAE whose operator was not fitted.
        LayerError: a layer was not collected, or there is no SAE at all.
        ModelError: a block has no such site as an SAE is to read.
        SAEError: an SAE that cannot be read, or that reads another width, site or layer than it is to.
        NonFiniteError: a training that diverged.
        UnavailableError: curves are to be logged to Weights & Biases, which is not installed.
    """
    study.check_same_model()
    if any(sae.is_trained for sae in settings.all_saes):
        check_tracking(settings.training.track)
    settings = with_operators(study, settings, operators or OperatorSettings())
    SAEStudy(study, settings).check()  # before the corpus is read for its strata
    of = SAEStudy(study, settings, document_strata.fn(study) if settings.judging.probing_k else None)
    stages = [stage for member in of.members for stage in _own_stages(member)]
    if not all([stage.skip() for stage in stages]):
        check_readable(of)
        say_how_maps_are_made(of)
        if parts > 1:
            run_parts("sae_study", study_layer, of.layers, study, settings, of.strata, of.precision)
        else:
            for layer in of.layers:
                _study_layer(of, layer)
    if not of.whole.skip():
        compare(of)
    return of.whole.key


@part_task("sae_study, part")
def study_layer(layer: int, study: Study, settings: SAEStudySettings, strata: str | None, precision: str) -> None:
    """What the study lacks of one layer.

    Args:
        precision: of the products in training, as the flow process has it in the keys of trained SAEs.

    Raises:
        SettingsError: this worker's processor would choose another.
    """
    of = SAEStudy(study, settings, strata)
    if any(sae.is_trained and sae.layer == layer for sae in settings.all_saes):
        check_worker_precision(of.precision, precision, does="train SAEs", setting="sae_study.training.precision")
    _study_layer(of, layer)


def _study_layer(of: SAEStudy, layer: int) -> None:
    for place in of.places(layer):
        obtain_weights(of, place)
        judge(of, place)
        look_at(of, [member for member in of.looked_at if member.place == place and not member.look.complete])


def _own_stages(member: Member) -> list[Stage]:
    return [member.judged, *([member.look] if member.looked_at else [])]
