"""The colours of maps: viridis, whoever draws them, with readable ink."""

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb

from ato.evaluation.map_colours import map_colour, map_ink


def test_the_colours_are_those_of_viridis():
    values = np.linspace(0, 1, 41)
    ours = np.array([to_rgb(map_colour(v)) for v in values])
    np.testing.assert_allclose(ours, colormaps["viridis"](values)[:, :3], atol=0.07)
    assert map_colour(-3) == to_hex(colormaps["viridis"](0.0))
    assert map_colour(7) == to_hex(colormaps["viridis"](1.0))


@pytest.mark.parametrize("value", np.linspace(0, 1, 21))
def test_ink_has_a_contrast_of_at_least_three_to_one(value):
    def luminance(colour):
        channels = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return np.dot([0.2126, 0.7152, 0.0722], channels)

    dark, light = sorted(luminance(colour) + 0.05 for colour in (map_colour(value), map_ink(value)))
    assert light / dark >= 3
