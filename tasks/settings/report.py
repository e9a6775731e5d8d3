"""Settings of stage `report`."""

from pydantic import Field

from tasks.settings.base import StageSettings


class ReportSettings(StageSettings):
    """Contents of the report."""

    png: bool = Field(True, description="Write each figure as a PNG file too")
    n_example_features: int = Field(12, ge=0, description="Number of features whose examples are shown")
