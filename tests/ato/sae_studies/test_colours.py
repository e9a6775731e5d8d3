"""The colours of architectures: one each, for everything that can be trained."""

import re

from ato.sae_studies.colours import ARCHITECTURES, OTHERS, architecture_colours
from ato.saes.training.methods import TRAINABLE


def test_everything_that_can_be_trained_has_a_colour_of_its_own():
    assert set(TRAINABLE) <= set(ARCHITECTURES)
    colours = [*ARCHITECTURES.values(), *OTHERS]
    assert len(set(colours)) == len(colours)
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in colours)


def test_an_architecture_keeps_its_colour_whatever_stands_beside_it():
    alone, beside = architecture_colours(["topk"]), architecture_colours(["unheard-of", "topk", "pca", "topk"])
    assert alone["topk"] == beside["topk"]
    assert list(beside) == ["topk", "pca", "unheard-of"]
    assert beside["unheard-of"] in OTHERS
