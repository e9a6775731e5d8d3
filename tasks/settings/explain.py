"""Settings of stage `explain`."""

from typing import Literal

from pydantic import Field

from tasks.settings.base import LayerNumber, StageSettings

ADDRESS = "^https?://.+"


class ExplainSettings(StageSettings):
    """Source of feature explanations, and when to trust them."""

    ids: dict[LayerNumber, str] = Field(
        {}, description="Layer -> model/source on Neuronpedia, for SAEs without an id of their own"
    )
    mode: Literal["bulk", "api"] = Field(
        "bulk", description="Source of explanations: bulk (files of the public dataset) or api (feature by feature)"
    )
    api_url: str = Field(
        "https://www.neuronpedia.org",
        pattern=ADDRESS,
        description="Address of the Neuronpedia API; its key is read from NEURONPEDIA_API_KEY",
    )
    bulk_url: str = Field(
        "https://neuronpedia-datasets.s3.us-east-1.amazonaws.com",
        pattern=ADDRESS,
        description="Address of Neuronpedia's public dataset, read in mode bulk",
    )
    all_features: bool = Field(False, description="Explain all features instead of the selected ones")
    min_alignment: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Minimum share of published top tokens found in our logit lens for an explanation to be trusted",
    )
    timeout: float = Field(20.0, gt=0, description="Time after which a request is given up, in seconds")
    max_attempts: int = Field(6, ge=1, description="Maximum number of attempts per request, with exponential back-off")
