"""Settings of stage `report`."""

from pydantic import Field

from tasks.settings.base import StageSettings


class ReportSettings(StageSettings):
    """What the report shows."""

    png: bool = Field(True, description="Also write each figure as a PNG file")
    n_example_features: int = Field(12, ge=0, description="Features whose examples are shown")
