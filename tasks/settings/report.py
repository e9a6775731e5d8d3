"""Settings of stage `report`."""

from typing import Literal

from pydantic import Field

from tasks.settings.base import StageSettings

Features = Literal["all", "selected"]
"""Over which features averages are made: all scored ones, or those with the best quality scores."""


class ReportSettings(StageSettings):
    """Contents of the report."""

    png: bool = Field(True, description="Write each figure as a PNG file too")
    features: Features = Field(
        "all", description="Features that maps and figures average over: all scored ones, or the selected ones"
    )
    n_example_features: int = Field(12, ge=0, description="Number of features whose examples the report shows")
