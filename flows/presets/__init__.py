"""Presets: named groups of settings that replace those of a profile, such as those of the published study."""

from pathlib import Path
from typing import Any

import yaml

from ato.errors import SettingsError

FOLDER = Path(__file__).parent


def preset_names() -> list[str]:
    """Names of the built-in presets."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def apply_preset(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The values of a profile (stage -> setting -> value) replaced by those of a preset; neither input is changed.

    Groups are merged setting by setting; a value that is a list or mapping is replaced as a whole.

    Raises:
        SettingsError: no such preset.
    """
    if name not in preset_names():
        raise SettingsError(f"no preset {name!r}", cure=f"use one of {', '.join(preset_names())}")
    preset = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    stages = [*values, *(stage for stage in preset if stage not in values)]
    return {stage: {**(values.get(stage) or {}), **preset.get(stage, {})} for stage in stages}
