"""Stage ``label``: evidence of the chosen features, then labels by each judge; each is skipped where it is complete."""

from collections.abc import Sequence

from tasks.collect.strata import document_strata
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.parallel_parts import part_task, run_parts, split_evenly
from tasks.engine.stage import checked_together
from tasks.engine.study import Study
from tasks.label.agreement import write_agreement
from tasks.label.evidence import collect_evidence
from tasks.label.judges import open_judge
from tasks.label.labelling import label
from tasks.label.stages import AskedJudge, Labelled, LabelStudy
from tasks.settings import LabelSettings


@stage_task("label")
@one_at_a_time("label")
def label_features(study: Study, sae_keys: list[str], settings: LabelSettings, parts: int = 1) -> list[str]:
    """Collect windows of the chosen features of all SAEs, label them by each judge; returns the labellings' keys.

    Args:
        study: the collection.
        sae_keys: SAEs whose features are labelled, but for those that the settings leave out.
        settings: of the stage.
        parts: tasks that share the SAEs for the pass that collects windows; judges are asked here, one after the other,
            so that one budget holds for all.

    Raises:
        InputError: a feature that an SAE lacks, nothing to order features by, or a faulty label space.
        UnavailableError: the judge's server is away; what it answered before is kept.
    """
    study.check_same_model()
    of = LabelStudy(study, tuple(sae_keys), settings, document_strata.fn(study))
    stages = [stage for member in of.members for stage in of.stages_of(member)]
    if not all([stage.skip() for stage in stages]):
        _collect(of, parts)
        for judge in of.judges:
            _label(of, judge)
        _compare(of)
    return [of.labels(member, judge).key for member in of.members for judge in of.judges]


@part_task("label, part")
def collect_share(
    keys: list[str], study: Study, sae_keys: tuple[str, ...], settings: LabelSettings, strata: str
) -> None:
    """Evidence of these SAEs, those left out that an attempt before this one completed."""
    of = LabelStudy(study, sae_keys, settings, strata)
    collect_evidence(of, [m for m in of.members if m.key in keys and not m.evidence.complete])


def _collect(of: LabelStudy, parts: int) -> None:
    missing = [member for member in of.members if not member.evidence.complete]
    if missing and parts > 1:
        shares = [[missing[i].key for i in numbers] for numbers in split_evenly(len(missing), parts)]
        run_parts("label", collect_share, shares, of.study, of.sae_keys, of.settings, of.strata)
    elif missing:
        collect_evidence(of, missing)


def _label(of: LabelStudy, judge: AskedJudge) -> None:
    missing: Sequence[Labelled] = [member for member in of.members if not of.labels(member, judge).complete]
    if not missing:
        return
    with open_judge(of, judge) as asked:
        for member in missing:
            with of.labels(member, judge) as stage:
                label(of, member, asked, stage)


def _compare(of: LabelStudy) -> None:
    with checked_together():
        for member in of.members:
            stage = of.agreement(member)
            if stage is not None and not stage.complete:
                with stage:
                    write_agreement(of, member, stage)
