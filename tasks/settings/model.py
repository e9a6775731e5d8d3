"""Settings of the language model."""

from typing import Literal

from pydantic import Field

from tasks.settings.base import StageSettings


class ModelSettings(StageSettings):
    """Language model and how to run it."""

    name: str = Field(
        "smollm2-135m", min_length=1, description="Language model: embedded name, hub id, local folder or .gguf file"
    )
    revision: str | None = Field(None, description="Revision of a hub model; default: the latest")
    device: str = Field("auto", description="Device of the model: auto, cpu, cuda, cuda:1 or mps")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Precision of the forward pass"
    )
    attention: Literal["sdpa", "eager"] = Field("sdpa", description="Attention implementation")
    trust_remote_code: bool = Field(False, description="Run code that a hub model ships; only for models you trust")
