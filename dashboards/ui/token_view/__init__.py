"""A text token by token: coloured, with what is known of a token on hovering, and its features on a click."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import streamlit as st

from ato.text.display import visible
from dashboards.ui.feature_names import FeatureName
from dashboards.ui.windows import STRONGEST, WEAKEST, pieces

if TYPE_CHECKING:
    from ato.features.token_features import TokenFeatures

FILES = Path(__file__).parent
HOVERED = 3
"""Strongest features that hovering names."""
LISTED = 15
"""Features that a click lists."""


@dataclass(frozen=True)
class Highlight:
    """Values that colour tokens: activations of a feature, or losses."""

    name: str
    colour: str
    """As ``#RRGGBB``."""
    values: Sequence[float | None]
    """One a token; 0 and None have no colour."""
    largest: float
    """Value that gets the deepest colour."""


@dataclass(frozen=True)
class TokenFacts:
    """What is known of the tokens beside their colours."""

    positions: Sequence[int]
    """Of each token in its sequence or text."""
    features: Sequence["TokenFeatures | None"] = ()
    """Of each token; None where it was not read. Empty: of no token."""
    names: Mapping[int, FeatureName] = field(default_factory=dict)
    """Of features, by number."""
    sae: str = ""
    collection: str = ""
    further: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """What else is measured, by name: one number a token, such as the loss."""
    prefix: str = ""
    """Before a feature's number, such as ``L12/``."""


def token_view(
    key: str,
    tokens: Sequence[str],
    highlights: Sequence[Highlight],
    facts: TokenFacts,
    *,
    centre: int | None = None,
    marked: int | None = None,
    on_highlight: Callable[[], None] | None = None,
) -> Any:
    """Draw a text; a click on a token lists its features.

    Args:
        key: of the component on its page.
        tokens: joined, the text; those that share a character are shown as it.
        highlights: colours; several of one token share its height.
        facts: of the tokens.
        centre: index of the underlined token.
        marked: index of the boxed token, to which the page scrolls.
        on_highlight: told that ``highlight`` of the component's state is a feature that the reader wants coloured; None: the
            list has no such button.
    """
    data = packed(tokens, highlights, facts, centre, marked) | {"choosable": on_highlight is not None}
    return _component()(key=key, data=data, on_highlight_change=on_highlight or _nothing)


def packed(
    tokens: Sequence[str],
    highlights: Sequence[Highlight],
    facts: TokenFacts,
    centre: int | None = None,
    marked: int | None = None,
) -> dict[str, Any]:
    """What the component is given: the pieces of the text with colours and words, and what is known of features."""
    shown: set[int] = set()
    found = []
    for text, own in pieces(tokens):
        listed = [_details(facts, token, tokens, shown) for token in own]
        found.append(
            {
                "text": visible(text, keep="\n\t\r"),
                "colours": _colours(highlights, own),
                "title": "\n".join(_title(highlights, facts, token) for token in own),
                "centre": centre in own,
                "marked": marked in own,
                "details": [one for one in listed if one],
            }
        )
    names = {number: facts.names.get(number, FeatureName()) for number in shown}
    return {
        "pieces": found,
        "names": {
            str(number): {
                "name": None if of.name is None else visible(of.name),
                "rate": of.rate,
                "href": _address(facts, number),
            }
            for number, of in names.items()
        },
        "prefix": facts.prefix,
        "predicts": any(of is not None and of.predicted is not None for of in facts.features),
    }


def _colours(highlights: Sequence[Highlight], own: range) -> list[str]:
    """#RRGGBBAA of the highlights that a piece has."""
    colours = []
    for highlight in highlights:
        value = max((highlight.values[token] or 0.0 for token in own), default=0.0)
        if value > 0 and highlight.largest > 0:
            opacity = WEAKEST + (STRONGEST - WEAKEST) * min(value / highlight.largest, 1)
            colours.append(f"{highlight.colour}{round(255 * opacity):02x}")
    return colours


def _title(highlights: Sequence[Highlight], facts: TokenFacts, token: int) -> str:
    """What hovering says of a token."""
    lines = [f"position {facts.positions[token]}"]
    lines += [f"{one.name}: {value:.3f}" for one in highlights if (value := one.values[token]) is not None]
    coloured = {one.name for one in highlights}
    lines += [
        f"{name}: {value:.3f}"
        for name, values in facts.further.items()
        if name not in coloured and (value := values[token]) is not None
    ]
    if facts.features:
        of = facts.features[token]
        lines += ["not read"] if of is None else []
        for number, activation in [] if of is None else list(zip(of.features, of.activations))[:HOVERED]:
            name = facts.names.get(number, FeatureName()).name
            lines.append(visible(f"{facts.prefix}{number} {activation:.3f} {name or ''}".rstrip()))
    return "\n".join(lines)


def _details(facts: TokenFacts, token: int, tokens: Sequence[str], shown: set[int]) -> dict[str, Any] | None:
    """What a click says of a token; None where its features are not known. Adds the features that it names to ``shown``."""
    of = facts.features[token] if facts.features else None
    numbers = {name: values[token] for name, values in facts.further.items()}
    if of is None and not facts.features:
        return None
    rows = (
        [] if of is None else [*zip(of.features, of.activations, of.predicted or (None,) * len(of.features))][:LISTED]
    )
    shown.update(number for number, *_ in rows)
    return {
        "token": visible(tokens[token], keep="\n\t\r"),
        "position": facts.positions[token],
        "numbers": [[name, value] for name, value in numbers.items() if value is not None],
        "rows": [list(row) for row in rows],
        "n_active": None if of is None else of.n_active,
    }


def _address(facts: TokenFacts, number: int) -> str:
    return "features?" + urlencode(
        {"collection": facts.collection, "sae": facts.sae, "feature_id": number, "tokens": "on"}
    )


def _nothing() -> None:
    """No feature can be chosen."""


@cache
def _component() -> Any:
    """The component, registered once a process."""
    script, style = ((FILES / f"view.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    return st.components.v2.component("ato_token_view", css=style, js=script)
