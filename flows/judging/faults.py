"""What is wrong with settings: setting, value, why it cannot work, and what does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ato.errors import SettingsError

LONGEST_VALUE = 80
"""Characters of a value in a message."""
NOT_SHOWN = ...
"""Instead of a value that says nothing."""


@dataclass(frozen=True)
class Fault:
    """One setting that cannot work, in one line."""

    setting: str
    """Its name: ``operators.rank``."""
    value: Any
    why: str
    """A clause."""
    works: str
    """What to do instead, with a value that works."""
    stops: bool = True
    """Whether the run cannot work; else a part of it does nothing, which is said as it starts."""

    def __str__(self) -> str:
        shown = " ".join(repr(self.value).split())
        shown = shown if len(shown) <= LONGEST_VALUE else f"{shown[: LONGEST_VALUE - 3]}..."
        name = self.setting if self.value is NOT_SHOWN else f"{self.setting} = {shown}"
        return ": ".join(" ".join(part.split()) for part in (name, self.why, self.works) if part)


class FaultySettings(SettingsError):
    """Settings that cannot work: all faults at once, a line each."""

    def __init__(self, faults: Sequence[Fault]):
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)
        self.args = ("\n".join(map(str, faults)),)

    def __reduce__(self) -> tuple[type["FaultySettings"], tuple[tuple[Fault, ...]]]:
        """It travels between processes by its faults."""
        return FaultySettings, (self.faults,)
