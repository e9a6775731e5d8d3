"""Settings of stage `features`."""

from pydantic import Field

from tasks.settings.base import Seed, StageSettings


class FeatureSettings(StageSettings):
    """Scoring, selection and examples of SAE features."""

    score: bool = Field(True, description="Score, select and illustrate features; if false, activation statistics only")
    n_tokens: int = Field(120_000, ge=1, description="Number of train tokens that features are scored on")
    top_positions: int = Field(
        100, ge=2, description="Number of top-activating positions whose token ids give the token entropy"
    )
    candidate_percent: float = Field(
        15.0, gt=0, le=100, description="Percentage of features, by pre-score, that are ablated"
    )
    top_percent: float = Field(5.0, gt=0, le=100, description="Percentage of features, by score, that are selected")
    ablation_sequences: int = Field(
        10,
        ge=1,
        description="Number of validation sequences per ablated candidate, each of another document as far as it is "
        "active in so many",
    )
    ablation_tokens: int = Field(
        64, ge=2, description="Tokens of each sequence in which a feature is ablated, around its strongest activation"
    )
    n_lens_tokens: int = Field(10, ge=1, description="Number of promoted and of suppressed tokens of the logit lens")
    n_examples: int = Field(10, ge=1, description="Number of top examples per selected feature")
    n_random: int = Field(5, ge=0, description="Number of random examples per selected feature")
    n_quantiles: int = Field(4, ge=0, description="Number of activation quantiles, with one example each")
    context_before: int = Field(20, ge=0, description="Tokens of context before the peak of an example")
    context_after: int = Field(10, ge=0, description="Tokens of context after the peak of an example")
    seed: Seed = Field(0, description="Seed of the random examples")
