"""Figures of the report keep their axes, whatever models, judges and SAEs are called and however many there are."""

import warnings
from itertools import product

import pytest

from ato.features.excerpts import TIERS
from tasks.report import compare, labels
from tasks.report.drawing import LONGEST, png, shortened, svg

LONG = "a model in a folder whose name says everything about it " * 6


def scores(names):
    own = {"scorer": "detection", "control": "none", "source": "sae", "chance": 0.5}
    values = {"mean_score": 0.8, "mean_low": 0.7, "mean_high": 0.9}
    return [own | values | {"layer": 4, "judge": name, "tier": tier} for name, tier in product(names, ("all", *TIERS))]


def covered(names):
    values = {"random": 0.1, "random_low": 0.0, "random_high": 0.2}
    return [values | {"layer": 4, "sae": n, "place": p, "covered": p / 3} for n, p in product(names, (1, 2, 3))]


def compared(names):
    own = {"source_layer": 2, "target_layer": 4, "sae": "x"}
    values = {"mean_difference": 0.1, "mean_difference_low": 0.0, "mean_difference_high": 0.2}
    return [own | values | {"other_model": name, "place": place} for place, name in enumerate(names)]


FIGURES = {
    "labels": (labels._draw_tiers, scores),
    "coverage": (labels._draw_coverage, covered),
    "compare": (compare._draw, compared),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("names", [[LONG], [f"{i} {LONG}" for i in range(12)]], ids=["one", "twelve"])
def test_long_names_and_many_leave_the_axes_their_room(name, names):
    draw, rows = FIGURES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # axes that collapse are a warning of matplotlib
        assert png(name, draw, rows(names)).startswith(b"\x89PNG")
        assert LONG not in svg(name, draw, rows(names))


def test_only_names_that_are_too_long_are_cut():
    assert shortened("x" * LONGEST) == "x" * LONGEST
    cut = shortened(f"{LONG}end")
    assert len(cut) == LONGEST
    assert cut.startswith("a model")
    assert cut.endswith("end")
