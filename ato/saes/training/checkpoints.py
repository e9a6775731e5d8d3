"""Checkpoints of a training: one file that is whole at any instant, and refuses to go on under other settings."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ato.errors import DamagedFileError, SettingsError

RECORD = "training"
"""Name of the JSON text in the file's header."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a training of several SAEs was."""

    step: int
    """Steps done."""
    settings: Mapping[str, Any]
    """All that the weights depend on; JSON."""
    states: list[dict[str, Tensor]]
    """What ``SAERun.state`` gave, one an SAE."""
    logs: list[list[dict[str, Any]]]
    """Rows of each SAE's log so far."""
    snapshots: Sequence[int]
    """Steps of which snapshots have been handed out."""
    n_threads: int
    """Of torch, on which the order of sums depends."""

    def write(self, path: Path) -> None:
        """Replace the file by this checkpoint; a process that is killed leaves the one before or this one."""
        record = {
            "step": self.step,
            "settings": self.settings,
            "logs": self.logs,
            "snapshots": [*self.snapshots],
            "n_threads": self.n_threads,
            "n_saes": len(self.states),
        }
        tensors = {
            f"{number}/{name}": value.detach().cpu().contiguous().clone()
            for number, state in enumerate(self.states)
            for name, value in state.items()
        }
        staging = path.with_name(f".{path.name}.part")  # of one name: a killed process leaves nothing that stays
        try:
            save_file(tensors, staging, metadata={RECORD: json.dumps(record)})
            with staging.open("rb") as file:
                os.fsync(file.fileno())
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)

    def check(self, settings: Mapping[str, Any], snapshots_at: Collection[int], where: Path) -> None:
        """Refuse to go on under other settings, or to leave out a snapshot.

        Raises:
            SettingsError: names each setting that differs, with both values, or the steps that have passed.
        """
        told = _differences(self.settings, json.loads(json.dumps(settings)))
        if told:
            raise SettingsError(
                f"the checkpoint is of another training: {'; '.join(told)}",
                where=where,
                cure="set these as they were, or remove the file to begin anew",
            )
        if passed := [step for step in sorted(snapshots_at) if step <= self.step and step not in self.snapshots]:
            raise SettingsError(
                f"the training is at step {self.step} already, and no snapshots were taken at {passed}",
                where=where,
                cure="leave these steps out, or remove the file to begin anew",
            )

    def note(self, n_steps: int) -> str:
        """What a user should know of a training that goes on from here."""
        now = torch.get_num_threads()
        threads = f"; it had {self.n_threads} threads and has {now}: sums may be rounded another way"
        return f"goes on after step {self.step:,} of {n_steps:,}{'' if self.n_threads == now else threads}"


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Each leaf in which two JSON values differ, by its path."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        pairs = [(f"{name}.{key}" if name else key, before.get(key), now.get(key)) for key in sorted({*before, *now})]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(f"{name}[{i}]", *both) for i, both in enumerate(zip(before, now, strict=True))]
    elif isinstance(before, list) and isinstance(now, list):
        return [f"{name} were {len(before)} and are {len(now)}"]
    else:
        return [] if before == now else [f"{name} was {before} and is {now}"]
    return [told for path, was, is_now in pairs for told in _differences(was, is_now, path)]


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint of that file; None where there is none.

    Raises:
        DamagedFileError: it was cut off or altered.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})[RECORD])
            states: list[dict[str, Tensor]] = [{} for _ in range(record["n_saes"])]
            for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
                number, _, name = key.partition("/")
                states[int(number)][name] = file.get_tensor(key)
            parts = [record[name] for name in ("logs", "snapshots", "n_threads")]
            return Checkpoint(record["step"], record["settings"], states, *parts)
    except (SafetensorError, KeyError, ValueError, IndexError) as error:
        raise DamagedFileError(
            f"the checkpoint cannot be read ({error})", where=path, cure="remove it: the training begins anew"
        ) from error


class Resumable(Protocol):
    """A training that a checkpoint holds."""

    log: list[dict[str, Any]]

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on."""
        ...

    def restore(self, state: Mapping[str, Tensor], log: list[dict[str, Any]]) -> None:
        """Go on from there."""
        ...


@dataclass(frozen=True)
class CheckpointFile:
    """The checkpoint of a training while it runs."""

    path: Path
    every: int
    """Steps between two of them."""
    settings: Mapping[str, Any]
    """All that the weights depend on."""

    def restore(self, runs: Sequence[Resumable], snapshots_at: Collection[int]) -> Checkpoint | None:
        """Put trainings where the file left them; None where there is no file. Errors as in ``Checkpoint.check``."""
        found = read_checkpoint(self.path)
        if found is not None:
            found.check(self.settings, snapshots_at, self.path)
            for run, state, log in zip(runs, found.states, found.logs, strict=True):
                run.restore(state, log)
        return found

    def due(self, step: int) -> bool:
        """Whether one is to be written after that step."""
        return step > 0 and step % self.every == 0

    def write(self, step: int, runs: Sequence[Resumable], snapshots: Sequence[int]) -> None:
        """Write one."""
        states, logs = [run.state() for run in runs], [run.log for run in runs]
        Checkpoint(step, self.settings, states, logs, snapshots, torch.get_num_threads()).write(self.path)
