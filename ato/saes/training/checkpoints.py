"""Checkpoints of a training: one file that is whole at any instant, and refuses to go on under other settings."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """What ``Trainer.state`` gave, one an SAE."""
    logs: list[list[dict[str, Any]]]
    """Rows of each SAE's log so far."""
    n_threads: int
    """Of torch, on which the order of sums depends."""

    def write(self, path: Path) -> None:
        """Replace the file by this checkpoint; a process that is killed leaves the one before or this one."""
        record = {
            "step": self.step,
            "settings": self.settings,
            "logs": self.logs,
            "n_threads": self.n_threads,
            "n_saes": len(self.states),
        }
        tensors = {
            f"{number}/{name}": value.detach().cpu().contiguous().clone()
            for number, state in enumerate(self.states)
            for name, value in state.items()
        }
        staging = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save_file(tensors, staging, metadata={RECORD: json.dumps(record)})
            with staging.open("rb") as file:
                os.fsync(file.fileno())
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)

    def check(self, settings: Mapping[str, Any], where: Path) -> None:
        """Refuse to go on under other settings.

        Raises:
            SettingsError: names each setting that differs, with both values.
        """
        names = sorted({*settings, *self.settings})
        told = [
            f"{name} was {self.settings.get(name)} and is {settings.get(name)}"
            for name in names
            if self.settings.get(name) != settings.get(name)
        ]
        if told:
            raise SettingsError(
                f"the checkpoint is of another training: {'; '.join(told)}",
                where=where,
                cure="set these as they were, or remove the file to begin anew",
            )


def read_checkpoint(path: Path, device: str = "cpu") -> Checkpoint | None:
    """The checkpoint of that file; None where there is none.

    Raises:
        DamagedFileError: it was cut off or altered.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt", device=device) as file:
            record = json.loads((file.metadata() or {})[RECORD])
            states: list[dict[str, Tensor]] = [{} for _ in range(record["n_saes"])]
            for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
                number, _, name = key.partition("/")
                states[int(number)][name] = file.get_tensor(key)
            return Checkpoint(record["step"], record["settings"], states, record["logs"], record["n_threads"])
    except (SafetensorError, KeyError, ValueError, IndexError) as error:
        raise DamagedFileError(
            f"the checkpoint cannot be read ({error})", where=path, cure="remove it: the training begins anew"
        ) from error
