"""The colours of architectures: one each, for everything that can be trained."""

import re

from ato.sae_studies.colours import ARCHITECTURES, OTHERS, architecture_colours
from ato.saes.training.methods import TRAINABLE


def test_everything_that_can_be_trained_has_a_colour_of_its_own():
    assert set(TRAINABLE) <= set(ARCHITECTURES)
    colours = [*ARCHITECTURES.values(), *OTHERS]
    assert len(set(colours)) == len(colours)
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in colours)


def luminance(colour):
    """Relative luminance, after WCAG 2."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_is_seen_on_a_white_and_on_a_dark_page():
    dark = luminance("#181714")
    for name, colour in ARCHITECTURES.items():
        found = luminance(colour) + 0.05
        assert 1.05 / found > 2, f"{name} is too light for white"
        assert found / (dark + 0.05) > 3, f"{name} is too dark for a dark page"


def test_an_architecture_keeps_its_colour_whatever_stands_beside_it():
    alone, beside = architecture_colours(["topk"]), architecture_colours(["unheard-of", "topk", "pca", "topk"])
    assert alone["topk"] == beside["topk"]
    assert list(beside) == ["topk", "pca", "unheard-of"]
    assert beside["unheard-of"] in OTHERS
