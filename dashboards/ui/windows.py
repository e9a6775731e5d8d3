"""A window of text as HTML, tokens coloured by activation, and the way to the text that it is from."""

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ato.text.display import visible
from ato.text.token_texts import whole_characters
from dashboards.ui.navigation import link
from dashboards.ui.plain import plain

COLOUR = "230, 159, 0"

WEAKEST, STRONGEST = 0.12, 0.6
"""Opacity of the smallest and of the largest activation: visible on white and on black, with readable text."""

WHITESPACE = str.maketrans({" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"})


def leads_to_text(row: dict[str, Any], collection: str, before: str = "", features: str | None = None) -> None:
    """A link to a window's place in its document, named by where it is from; a phone cuts off the end.

    Args:
        row: with ``sequence_id`` and ``position``, and either both of ``corpus`` and ``document_id`` (which may be None) or none.
        collection: its key.
        before: what else the link says, first.
        features: to highlight there, as ``KEY/345``; several with commas.
    """
    said = f"{before}position {row['position']} of sequence {row['sequence_id']}"
    if "document_id" in row:
        corpus = "corpus unknown" if row["corpus"] is None else row["corpus"]
        said += f", {corpus}, document {'unknown' if row['document_id'] is None else row['document_id']}"
    link(
        plain(said),
        "reader",
        collection=collection,
        sequence=row["sequence_id"],
        position=row["position"],
        features=features,
    )


def feature_in_reader(about: Mapping[str, Any]) -> str | None:
    """How the reader's address names the feature that a page is about; None of neurons and others that are of no SAE there."""
    return f"{about['sae']}/{about['feature_id']}" if about.get("in_sae", True) else None


def coloured(
    tokens: Sequence[str],
    activations: Sequence[float],
    largest: float,
    centre: int | None = None,
    marked: Collection[int] = (),
) -> str:
    """A window of text as HTML.

    Args:
        tokens: the window; escaped here. Those that share a character are shown as it, with their largest activation.
        activations: of the feature, one for each token; 0 has no colour.
        largest: activation that gets the deepest colour.
        centre: index of the underlined token.
        marked: indices of the boxed tokens.
    """
    spans = []
    for token, own in pieces(tokens):
        activation = max(activations[place] for place in own)
        style = "text-decoration:underline;text-underline-offset:3px;" if centre in own else ""
        style += "outline:1px solid currentColor;" if not set(own).isdisjoint(marked) else ""
        if activation > 0:
            opacity = WEAKEST + (STRONGEST - WEAKEST) * min(activation / largest, 1)
            text = html.escape(visible(token.translate(WHITESPACE)))
            style += f"border-radius:3px;background-color:rgba({COLOUR},{opacity:.3f})"
            spans.append(f'<span style="{style}" title="{activation:.3f}">{text}</span>')
        else:
            text = html.escape(visible(token.replace("\n", "↵"), keep="\t\r"))
            spans.append(f'<span style="{style}">{text}</span>' if style else text)
    return f'<div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.7">{"".join(spans)}</div>'


def pieces(tokens: Sequence[str]) -> list[tuple[str, range]]:
    """Texts and their tokens: an empty token continues a character of the one before it."""
    found: list[tuple[str, range]] = []
    for text, own in whole_characters(tokens):
        if not text and found:
            before, first = found.pop()
            found.append((before, range(first.start, own.stop)))
        else:
            found.append((text, own))
    return found
