"""Settings of stage `compare`."""

from typing import Annotated

from pydantic import Field

from tasks.settings.base import Distinct, StageSettings
from tasks.settings.operators import Method

Name = Annotated[str, Field(min_length=1)]


class CompareSettings(StageSettings):
    """Models that are compared with the study's own on the same text: which features are carried otherwise there."""

    models: Annotated[list[Name], Distinct] = Field(
        [],
        description="Models to compare with: names, folders, or a folder of checkpoints, for all of them; each is "
        "collected and has operators fitted with the settings of this study. Pages and tables put them in the order of the "
        "numbers in their names",
    )
    collections: Annotated[list[Name], Distinct] = Field(
        [], description="Keys of finished collections of the same text to compare with"
    )
    method: Method = Field("ridge", description="Method of the operators that are compared between models")
    false_discovery: float = Field(
        0.05, gt=0, lt=1, description="False discovery rate at which a feature's difference of r2 counts"
    )
    smallest_change: float = Field(
        0.05, ge=0, description="Differences of r2 smaller than this do not count, however certain they are"
    )
