"""Pages of features for tests: by hand, and drawn by Hypothesis with text and numbers that formats trip over."""

from typing import Any

from hypothesis import strategies as st

from ato.features.excerpts import Excerpt, Origin
from ato.features.exports.feature_page import Description, ExampleGroup, FeaturePage, TokenCounts

TOKENS = TokenCounts(1_000, {"law": 400, "sea": 600}, {"question": 250}, (100,) * 9 + (0,))
ACTIVE = TokenCounts(50, {"law": 40, "sea": 10}, {"question": 50}, (30, 20, *(0,) * 8))


def excerpt(tokens: tuple[str, ...], activations: tuple[float, ...], peak: int, sequence: int = 0) -> Excerpt:
    """An excerpt that begins at position 5 of its sequence."""
    return Excerpt(tokens, activations, Origin("tiny", sequence + 10, sequence, 5 + peak, 5, "train", "law"))


def page(feature_id: int = 7, layer: int = 1, sae: str = "sae-1", **values: Any) -> FeaturePage:
    """A page with two strong examples in the wrong order, a random one and a quantile, and a histogram."""
    weak = excerpt((" in", " the", " 日", ""), (0.0, 1.5, 0.25, 0.0), 1, sequence=3)
    strong = excerpt((" a", "\n", "é"), (0.5, 4.0, 0.0), 1, sequence=4)
    whole: dict[str, Any] = {
        "tokens": TOKENS,
        "active": ACTIVE,
        "top_tokens": (" court", "😀"),
        "top_logits": (2.5, 1.25),
        "bottom_tokens": ("ly",),
        "bottom_logits": (-3.0,),
        "groups": (
            ExampleGroup("quantile", (weak,), 0.0, 0.5),
            ExampleGroup("random", (weak,)),
            ExampleGroup("top", (weak, strong)),
        ),
        "histogram_edges": (0.0, 1.0, 2.0, 4.0),
        "histogram_counts": (20, 20, 10),
        "descriptions": (
            Description("courts of law", "overlap", score=0.9, score_kind="detection"),
            Description("law", "neuronpedia", "oai_token-act-pair", "gpt-4o-mini"),
        ),
    }
    return FeaturePage(layer, feature_id, sae, **(whole | values))


_texts = st.text(max_size=4)  # any character, so halves of surrogate pairs too
_numbers = st.floats(width=32)  # NaN and infinities too


@st.composite
def excerpts(draw: st.DrawFn) -> Excerpt:
    """An excerpt of one to six tokens."""
    tokens = draw(st.lists(_texts, min_size=1, max_size=6))
    values = draw(st.lists(_numbers, min_size=len(tokens), max_size=len(tokens)))
    return excerpt(tuple(tokens), tuple(values), draw(st.integers(0, len(tokens) - 1)))


@st.composite
def page_lists(draw: st.DrawFn) -> list[FeaturePage]:
    """Pages by layer and feature, with gaps between layers and features, some of them without anything."""
    places = sorted(draw(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 12)), max_size=5)))
    found = []
    for layer, feature_id in places:
        kinds = draw(st.lists(st.sampled_from(["top", "random", "quantile"]), max_size=3))
        groups = tuple(ExampleGroup(kind, tuple(draw(st.lists(excerpts(), max_size=2)))) for kind in kinds)
        words, logits = tuple(draw(st.lists(_texts, max_size=2))), tuple(draw(st.lists(_numbers, max_size=2)))
        own = {"groups": groups, "top_tokens": words, "top_logits": logits}
        active = draw(st.sampled_from([None, TokenCounts(0), ACTIVE]))
        counts = {"tokens": None, "active": None} if active is None else {"active": active}
        found.append(page(feature_id, layer, f"sae-{layer}", **own, **counts))
    return found
