"""What all settings have in common."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import CoreSchema, core_schema

Item = TypeVar("Item", bound=Hashable)


def _distinct(values: list[Item]) -> list[Item]:
    return list(dict.fromkeys(values))


Distinct = AfterValidator(_distinct)
"""Of a list: each value once, where it first stood; what is named twice would be made, and compared with itself, twice."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What every generator of random numbers takes."""
LayerNumber = Annotated[int, Field(ge=0)]
"""Number of a block of the model, from 0."""


class StageSettings(BaseModel):
    """Base of all settings: unknown names, infinity and NaN are refused, values cannot be changed after validation.

    Defaults are validated too: 1 and 1.0 would give two keys for one setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


@dataclass(frozen=True)
class OneOf:
    """A string setting that must be a name of a registry: ``Annotated[str, OneOf(names)]``; forms offer the names."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """The schema of ``Literal`` with these names."""
        return core_schema.literal_schema(list(self.names))
