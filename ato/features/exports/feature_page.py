"""All that the exports show of one feature: counts, logit lens, examples and descriptions, whatever table they are of."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ato.errors import InputError
from ato.features.excerpts import Excerpt

THINKING_BINS = 10


@dataclass(frozen=True)
class TokenCounts:
    """Tokens in all and by stratum: of a corpus, or those of it on which a feature is active."""

    total: int
    by_domain: Mapping[str, int] = field(default_factory=dict)
    """By topic, source or whatever else divides the documents."""
    by_region: Mapping[str, int] = field(default_factory=dict)
    """By part of a conversation."""
    by_thinking_bin: tuple[int, ...] = (0,) * THINKING_BINS
    """By tenth of the text between the marks of thinking."""


@dataclass(frozen=True)
class ExampleGroup:
    """Excerpts that were chosen in the same way."""

    kind: str
    """top, random or quantile."""
    examples: tuple[Excerpt, ...]
    share_above: float | None = None
    """Of a quantile: the shares of the active tokens with a smaller activation at its lower end ..."""
    share_below: float | None = None
    """... and at its upper end."""

    @property
    def name(self) -> str:
        """As viewers show it; the first two are words that circuit-tracer's tools look for."""
        if self.kind in (names := {"top": "Top activations", "random": "Random samples"}):
            return names[self.kind]
        if self.share_above is None or self.share_below is None:
            return self.kind.capitalize()
        return f"Quantile {self.share_above:g} to {self.share_below:g}"


@dataclass(frozen=True)
class Description:
    """What a feature is said to fire on, and how well that was found to hold."""

    text: str
    source: str
    """neuronpedia, or the judge that wrote it."""
    method: str | None = None
    explainer: str | None = None
    score: float | None = None
    score_kind: str | None = None


@dataclass(frozen=True)
class FeaturePage:
    """One feature of one SAE; what is not known is None or empty."""

    layer: int
    feature_id: int
    sae: str
    tokens: TokenCounts | None = None
    """The sample that was counted; the same object for all features of it."""
    active: TokenCounts | None = None
    """Those of them on which the feature is active."""
    top_tokens: tuple[str, ...] = ()
    """Tokens that its decoder row promotes most (logit lens), the largest logit first."""
    top_logits: tuple[float, ...] = ()
    bottom_tokens: tuple[str, ...] = ()
    bottom_logits: tuple[float, ...] = ()
    groups: tuple[ExampleGroup, ...] = ()
    histogram_edges: tuple[float, ...] = ()
    """Ascending edges of the bins of its activations, one more than counts."""
    histogram_counts: tuple[int, ...] = ()
    descriptions: tuple[Description, ...] = ()
    """The chosen one first."""
    is_neuron: bool = False

    @property
    def activation_rate(self) -> float | None:
        """Share of the tokens on which it is active."""
        if self.tokens is None or self.active is None or not self.tokens.total:
            return None
        return self.active.total / self.tokens.total

    def group(self, kind: str) -> tuple[Excerpt, ...]:
        """The excerpts of all groups of a kind."""
        return tuple(one for group in self.groups if group.kind == kind for one in group.examples)


def peak_index(excerpt: Excerpt) -> int:
    """Index in the excerpt of the token that it was chosen for.

    Raises:
        InputError: the excerpt does not hold that token, or has not as many activations as tokens.
    """
    index = excerpt.origin.position - excerpt.origin.start
    if len(excerpt.tokens) != len(excerpt.activations) or not 0 <= index < len(excerpt.tokens):
        raise InputError(
            f"token {index} is not one of {len(excerpt.tokens)} tokens with {len(excerpt.activations)} activations",
            where=f"sequence {excerpt.origin.sequence}",
            cure="give excerpts that hold the token they were chosen for",
        )
    return index


def ascending(pages: Iterable[FeaturePage]) -> Iterator[FeaturePage]:
    """The same pages, checked to come by layer and feature, each once: formats name features by these two alone.

    Raises:
        InputError: they do not.
    """
    before: FeaturePage | None = None
    for page in pages:
        if before and (page.layer, page.feature_id) <= (before.layer, before.feature_id):
            if page.layer == before.layer and page.sae != before.sae:
                cure = "export one SAE a layer: --sae"
                raise InputError(
                    f"{before.sae} and {page.sae} are of one layer", where=f"layer {page.layer}", cure=cure
                )
            raise InputError(
                f"feature {page.feature_id} comes after {before.feature_id}",
                where=f"layer {page.layer} after {before.layer}",
                cure="give each feature once, by layer and number",
            )
        yield page
        before = page
