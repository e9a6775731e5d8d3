"""A piece of text with one feature's activations over it, and where it came from."""

from dataclasses import dataclass

TIERS = ("random", "same_stratum", "near_miss")
"""Where silent excerpts are from, the easiest to tell from active ones first; see ``ato.features.silent_windows``."""


@dataclass(frozen=True)
class Origin:
    """Where an excerpt lies in the collected text: enough to find it again."""

    corpus: str
    document: int
    sequence: int
    position: int
    """Of the token that the excerpt was chosen for, in its sequence."""
    start: int
    """Position of the excerpt's first token."""
    split: str
    """train, validation or test."""
    stratum: str | None = None


@dataclass(frozen=True)
class Excerpt:
    """Consecutive tokens of one document and the activation of one feature at each.

    ``"".join(tokens)`` is the text: a character that the tokenizer splits stands whole at its first token, and the
    tokens that continue it are empty.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    """As many as tokens; 0 where the feature is silent."""
    origin: Origin

    @property
    def text(self) -> str:
        """The tokens joined."""
        return "".join(self.tokens)

    @property
    def active(self) -> bool:
        """Whether the feature fires on any of its tokens."""
        return any(value > 0 for value in self.activations)

    @property
    def peak(self) -> float:
        """The largest activation; 0 for a silent or empty excerpt."""
        return max(self.activations, default=0.0)
