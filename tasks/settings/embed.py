"""Settings of stage `embed`."""

from typing import Annotated

from pydantic import Field

from ato.autointerp.meaning import KINDS
from tasks.settings.base import Distinct, OneOf, StageSettings

Kind = Annotated[str, OneOf(KINDS)]


class EmbedSettings(StageSettings):
    """Texts of features that are embedded for the search by meaning."""

    kinds: Annotated[list[Kind], Distinct] = Field(
        list(KINDS),
        min_length=1,
        description="Texts that are embedded: description (labels and published explanations), tokens (those that the logit "
        "lens promotes), example (strongest windows)",
    )
    n_examples: int = Field(3, ge=1, description="Strongest windows of each feature that are embedded")
