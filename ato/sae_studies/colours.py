"""The colour of each SAE architecture and of each baseline: the same on pages and in reports."""

from collections.abc import Iterable

ARCHITECTURES = {
    "topk": "#0072B2",
    "batchtopk": "#E69F00",
    "matryoshka_batchtopk": "#009E73",
    "jumprelu": "#CC79A7",
    "gated": "#56B4E9",
    "standard": "#D55E00",
    "transcoder": "#8C6D1F",
    "skip_transcoder": "#6A5ACD",
    "pca": "#737373",
    "random": "#8A8F98",
    "basis": "#AEB3BA",
    "linear": "#6B7078",
}
"""Okabe and Ito's palette for what is trained on a residual, two darker colours for transcoders, greys for baselines."""
OTHERS = ("#7F5AA2", "#3A7D6B", "#A64B5B")
"""Taken in turn by architectures that are not listed, such as those of other people's files."""


def architecture_colours(names: Iterable[str]) -> dict[str, str]:
    """Architecture -> its colour, in the order of the palette; those without one come last, by name.

    >>> architecture_colours(["pca", "topk"])
    {'topk': '#0072B2', 'pca': '#737373'}
    """
    found = set(names)
    known = {name: colour for name, colour in ARCHITECTURES.items() if name in found}
    unlisted = sorted(found - known.keys())
    return known | {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(unlisted)}
