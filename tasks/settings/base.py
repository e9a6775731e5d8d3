"""What all settings have in common."""

from pydantic import BaseModel, ConfigDict


class StageSettings(BaseModel):
    """Base of all settings: unknown names are refused, values cannot be changed after validation.

    Defaults are validated too: 1 and 1.0 would give two keys for one setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
