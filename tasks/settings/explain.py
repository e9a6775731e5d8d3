"""Settings of stage `explain`."""

from typing import Literal

from pydantic import Field

from tasks.settings.base import StageSettings


class ExplainSettings(StageSettings):
    """Where explanations of features come from, and when they are believed."""

    ids: dict[int, str] = Field(
        {}, description="Layer -> model/source on Neuronpedia, for SAEs that do not bring their own id"
    )
    mode: Literal["bulk", "api"] = Field(
        "bulk", description="The public dataset's files, or the API feature by feature"
    )
    api_url: str = Field("https://www.neuronpedia.org", description="The API; its key is read from NEURONPEDIA_API_KEY")
    bulk_url: str = Field("https://neuronpedia-datasets.s3.us-east-1.amazonaws.com", description="The public dataset")
    all_features: bool = Field(False, description="All features instead of the selected ones")
    min_alignment: float = Field(
        0.5, ge=0, le=1, description="Share of published top tokens our logit lens must have for a label to be believed"
    )
    timeout: float = Field(20.0, gt=0, description="Seconds to wait for an answer")
    max_attempts: int = Field(6, ge=1, description="Tries of one request, with growing pauses")
