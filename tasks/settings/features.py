"""Settings of stage `features`."""

from pydantic import Field

from tasks.settings.base import StageSettings


class FeatureSettings(StageSettings):
    """How the features of an SAE are scored, and which are selected and shown."""

    score: bool = Field(True, description="Score, select and illustrate features; false: activation statistics only")
    n_tokens: int = Field(120_000, ge=1, description="Train tokens looked at")
    top_positions: int = Field(100, ge=2, description="Top-activating positions whose token ids give the entropy")
    candidate_percent: float = Field(
        15.0, gt=0, le=100, description="Share of features, by pre-score, that are ablated"
    )
    top_percent: float = Field(5.0, gt=0, le=100, description="Share of features, by score, that are selected")
    ablation_sequences: int = Field(4, ge=1, description="Validation sequences a candidate is ablated on")
    ablation_tokens: int = Field(64, ge=2, description="Tokens of such a sequence, around its strongest activation")
    n_lens_tokens: int = Field(10, ge=1, description="Tokens of the logit lens, at each end")
    n_examples: int = Field(10, ge=1, description="Top examples of a selected feature")
    n_random: int = Field(5, ge=0, description="Random examples")
    n_quantiles: int = Field(4, ge=0, description="Activation quantiles, one example each")
    context_before: int = Field(20, ge=0, description="Tokens of an example before its strongest one")
    context_after: int = Field(10, ge=0, description="Tokens of an example after it")
    seed: int = Field(0, description="Of the random examples")
