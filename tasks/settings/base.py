"""What all settings have in common."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import CoreSchema, core_schema


class StageSettings(BaseModel):
    """Base of all settings: unknown names are refused, values cannot be changed after validation.

    Defaults are validated too: 1 and 1.0 would give two keys for one setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True)
class OneOf:
    """A string setting that must be a name of a registry: ``Annotated[str, OneOf(names)]``; forms offer the names."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """The schema of ``Literal`` with these names."""
        return core_schema.literal_schema(list(self.names))
