"""Folders of checkpoints of one model, in the order of its training."""

import re
from pathlib import Path

from ato.errors import InputError

_NUMBER = re.compile(r"\d+")


def checkpoint_folders(name: str) -> list[str]:
    """The models that a name stands for: itself, or the checkpoints of a folder that holds some, in order of their step.

    Args:
        name: embedded name, hub id, GGUF file, folder of a model (with ``config.json``), or a folder of such folders as
            trainers write them (``checkpoint-500``, ``step_1000``), ordered by the numbers in their names.

    Raises:
        InputError: a folder without a model, or a checkpoint without a number in its name beside others.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir() or (folder / "config.json").is_file():
        return [name]
    found = sorted(path.parent for path in folder.glob("*/config.json"))
    if not found:
        raise InputError(
            "no checkpoint in this folder",
            where=folder,
            cure="name a model, or a folder whose subfolders hold config.json",
        )
    numbers = {path: _NUMBER.findall(path.name) for path in found}
    if len(found) > 1 and (unnumbered := [path.name for path, number in numbers.items() if not number]):
        cure = "name checkpoints by their step: step-1000"
        raise InputError(f"no step in the name of {unnumbered[0]!r}", where=folder, cure=cure)
    return [str(path) for path in sorted(found, key=lambda path: ([*map(int, numbers[path])], path.name))]
