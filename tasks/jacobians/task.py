"""Stage ``jacobians``: parts of the train text are measured until each pair is known well enough, then summed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ato.errors import SettingsError
from ato.jacobians import JacobianSums, load_lens
from ato.jacobians.sums import relative_change
from tasks.collect.plan import forget_parts
from tasks.engine.exclusive import one_at_a_time
from tasks.engine.looking import stage_task
from tasks.engine.parallel_parts import run_parts
from tasks.engine.progress import Progress, say
from tasks.engine.stage import checked_together
from tasks.engine.study import Study
from tasks.jacobians.parts import document_parts, measure_part, measure_share
from tasks.jacobians.stages import JacobianStage, check_study, jacobian_stages


@dataclass
class _Running:
    """A pair while its parts are summed, in the order of the parts."""

    of: JacobianStage
    sums: JacobianSums
    tolerance: float
    parts: int = 0
    before: np.ndarray | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)

    def add(self, part: int) -> None:
        """Take one more part into account."""
        self.sums += JacobianSums.load(self.of.stage.warehouse.artifact_path(*self.of.part_path(part)))
        mean = self.sums.mean() if self.sums.is_whole else None
        self.parts = part + 1
        self.curve.append(
            {
                "part": part,
                "n_tokens": self.sums.n_tokens,
                "n_documents": self.sums.n_documents,
                "change": None if mean is None or self.before is None else relative_change(mean, self.before),
                "relative_error": self.sums.relative_error(),
            }
        )
        self.before = mean

    @property
    def converged(self) -> bool:
        """Whether its error is within the tolerance."""
        error = self.curve[-1]["relative_error"] if self.curve else None
        return error is not None and error <= self.tolerance


@stage_task("jacobians")
@one_at_a_time("jacobians")
def measure_jacobians(study: Study, pairs: list[tuple[int, int]], parts: int = 1) -> list[str]:
    """Measure the mean Jacobian of every pair that has none; returns the keys of the pairs.

    A pair's result depends neither on the pairs that are measured with it nor on the number of tasks: its parts are
    summed in order, up to the first at which it has converged.

    Args:
        study: with the settings of the stage.
        pairs: (source layer, target layer).
        parts: tasks that share the work.

    Raises:
        DataError: too few tokens or probes for every row of a Jacobian to be asked for.
    """
    stages = jacobian_stages(study, pairs)
    missing = [of for of in stages if not of.stage.complete]
    if len(missing) < len(stages):
        say("jacobians", f"{len(stages) - len(missing)} of {len(stages)} pairs are complete, skipped")
    if missing:
        check_study(study, pairs)
        found = _measured(study, missing, parts) if study.jacobians.lens is None else _of_lens(study, missing)
        with checked_together():
            for one in found:
                _commit(study, one)
        for one in found:
            forget_parts(study.warehouse, study.collection, f"{one.of.stage.key}-")
    return [of.stage.key for of in stages]


def _measured(study: Study, missing: Sequence[JacobianStage], at_once: int) -> list[_Running]:
    d, tolerance = study.row.d_model, study.jacobians.tolerance
    running = [_Running(of, JacobianSums.empty(d, d), tolerance) for of in missing]
    n_parts = len(document_parts(study))
    with Progress("jacobians", n_parts, "parts of the text") as progress:
        for start in range(0, n_parts, at_once):
            left = [one for one in running if not one.converged]
            if not left:
                break
            numbers, pairs = list(range(start, min(start + at_once, n_parts))), [one.of.layers for one in left]
            if at_once > 1:
                run_parts("jacobians", measure_share, numbers, study, pairs)
            for number in numbers:
                if at_once == 1:
                    measure_part(number, study, pairs)
                for one in left:
                    if not one.converged:
                        one.add(number)
                progress.advance()
    return running


def _of_lens(study: Study, missing: Sequence[JacobianStage]) -> list[_Running]:
    """The Jacobians of a file, each as if all of its documents were one."""
    path, last, d = study.jacobians.lens, study.row.n_layers - 1, study.row.d_model
    assert path is not None
    lens = load_lens(path)
    if lens.d_model != d:
        what = f"Jacobians of {lens.d_model} dimensions, the model has {d}"
        raise SettingsError(what, where=f"jacobians.lens={path}", cure="use a lens of this model")
    found = []
    for of in missing:
        if of.target_layer != last or of.source_layer not in lens.matrices:
            what = f"the lens has no Jacobian {of.source_layer} -> {of.target_layer}"
            cure = f"use operators that end at layer {last}, from layers of {sorted(lens.matrices)}"
            raise SettingsError(what, where=f"jacobians.lens={path}", cure=cure)
        sums = JacobianSums.empty(d, d).update(lens.matrices[of.source_layer], np.ones(d), 0)
        sums.n_documents = lens.n_prompts
        found.append(_Running(of, sums, 0.0))
    return found


def _commit(study: Study, one: _Running) -> None:
    of, sums, settings = one.of, one.sums, study.jacobians
    mean, d = sums.mean(), study.row.d_model
    leap = of.target_layer - of.source_layer
    keys = {
        "collection": of.stage.collection,
        "jacobian": of.stage.key,
        "source_layer": of.source_layer,
        "leap": leap,
        "target_layer": of.target_layer,
    }
    measured = settings.lens is None
    norm, error = float(np.linalg.norm(mean)), sums.relative_error()
    with of.stage as stage:
        file = stage.warehouse.publish_artifact(sums.save, *of.path)
        stage.add(file)
        row = {
            "positions": settings.positions if measured else "later",
            "n_tokens": sums.n_tokens if measured else None,
            "n_documents": sums.n_documents,
            "probes": (d if settings.probes is None else min(settings.probes, d)) if measured else None,
            "relative_error": error,
            "converged": one.converged if measured else None,
            "norm": norm,
            "identity_cosine": float(np.trace(mean)) / (norm * d**0.5) if norm > 0 else None,
            "seconds": sums.seconds if measured else None,
            "source": "model" if measured else settings.lens,
            "path": file.path,
        }
        stage.write("jacobians", [keys | row])
        if one.curve:
            stage.write("jacobian_convergence", [keys | point for point in one.curve])
        stage.tokens_run = sums.n_tokens
    told = "its error is not known" if error is None else f"relative error {error:.3f}"
    say("jacobians", f"{stage.key}: {sums.n_tokens} tokens of {sums.n_documents} documents, {told}")
