"""Stage ``graphs``: the graphs of each prompt, skipped where they are complete, then what recurs over all prompts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.parallel_parts import part_task, run_parts, split_evenly
from tasks.engine.progress import Progress, say
from tasks.engine.stage import checked_together
from tasks.engine.study import Study
from tasks.graphs.motifs import write_motifs
from tasks.graphs.stages import GraphStudy, Prompt
from tasks.settings import GraphSettings

if TYPE_CHECKING:
    from tasks.graphs.making import MadeGraph

TOGETHER = 8
"""Prompts that are checked and committed at once: a validation takes its time whatever the number of rows."""


@stage_task("graphs")
@one_at_a_time("graphs")
def make_graphs(study: Study, sae_keys: list[str], settings: GraphSettings, parts: int = 1) -> list[str]:
    """Make the graphs of every prompt, and count what recurs; returns a key per prompt, in their order.

    Args:
        study: the collection.
        sae_keys: SAEs between which graphs are made, but for those that the settings leave out.
        settings: of the stage.
        parts: tasks that share the prompts.

    Raises:
        InputError: a prompt, a target or a layer that has no graph; nothing of it is made.
        QualityError: edges into a node do not sum to its value.
    """
    study.check_same_model()
    of = GraphStudy(study, tuple(sae_keys), settings)
    if missing_layers := of.missing_layers:
        say("graphs", f"no SAE of layers {missing_layers}: graphs leap over them")
    stages = {number: of.stage(prompt) for number, prompt in enumerate(of.prompts)}
    missing = [number for number, stage in stages.items() if not stage.complete]
    if len(missing) < len(stages):
        say("graphs", f"{len(stages) - len(missing)} of {len(stages)} prompts are complete, skipped")
    if missing and parts > 1:
        shares = [[missing[i] for i in numbers] for numbers in split_evenly(len(missing), parts)]
        run_parts("graphs", make_share, shares, study, tuple(sae_keys), settings)
    elif missing:
        _make(of, [of.prompts[number] for number in missing])
    keys = [stage.key for stage in stages.values()]
    if len(keys) > 1:
        _count(of, keys)
    return keys


@part_task("graphs, part")
def make_share(numbers: list[int], study: Study, sae_keys: tuple[str, ...], settings: GraphSettings) -> None:
    """Graphs of these prompts, those left out that an attempt before this one completed."""
    of = GraphStudy(study, sae_keys, settings)
    _make(of, [prompt for prompt in (of.prompts[number] for number in numbers) if not of.stage(prompt).complete])


def _make(of: GraphStudy, prompts: Sequence[Prompt]) -> None:
    from tasks.graphs.making import GraphMaker
    from tasks.graphs.rows import write_graphs

    maker = GraphMaker(of)
    with Progress("graphs", len(prompts), "prompts") as progress:
        for start in range(0, len(prompts), TOGETHER):
            with checked_together():
                for prompt in prompts[start : start + TOGETHER]:
                    with of.stage(prompt) as stage:
                        made = maker.make(prompt)
                        write_graphs(of, maker, prompt, made, stage)
                    say("graphs", f"{stage.key}: {_told(made)}")
                    progress.advance()


def _count(of: GraphStudy, keys: Sequence[str]) -> None:
    stage = of.motifs
    if not stage.skip():
        with stage:
            n = write_motifs(keys, stage)
        say("graphs", f"{stage.key}: {n} edges between features recur over {len(keys)} prompts")


def _told(made: "Sequence[MadeGraph]") -> str:
    """What came of a prompt, in a line."""
    return "; ".join(
        f"{one.kind}: {int((one.pruned.graph.kind == 'feature').sum())} features, {len(one.pruned.graph.weight)} edges, "
        f"conserved to {one.largest_residual:.0e}"
        for one in made
    )
