"""Pages and report draw the same thing in the same colour."""

import ast
from pathlib import Path

import pytest

from ato.evaluation import colours
from dashboards.ui.charts import CATEGORIES
from dashboards.views.fate.life import LINES
from dashboards.views.labels.scores import COLOURS as OF_SCORES
from dashboards.views.operators.ranks import EFFICIENCY_CURVES, RANK_CURVES
from tasks.report.drawing import COLOURS
from tasks.report.labels import STYLES

ROOT = Path(__file__).parents[2]


def test_the_palette_is_one():
    assert CATEGORIES[: len(COLOURS)] == COLOURS


@pytest.mark.parametrize(
    ("table", "page", "report"),
    [
        ("INTERVENTIONS", "causal/costs", "causal"),
        ("FATES", "fate/counts", "fate"),
        ("FATES", "fate/scatter", "fate"),
        ("VIEWS", "fate/life", "fate"),
        ("RANK_CURVES", "operators/ranks", "efficiency"),
        ("DESCRIBED", "labels/scores", "labels"),
    ],
)
def test_both_take_colours_from_one_table(table, page, report):
    for path in (ROOT / f"dashboards/views/{page}.py", ROOT / f"tasks/report/{report}.py"):
        assert table in imported(path), path


def imported(path):
    """What a module takes from the table of colours."""
    return {
        name.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == colours.__name__
        for name in node.names
    }


def test_scores_of_descriptions_have_the_colours_of_the_page():
    assert {name: STYLES[name][0] for name in colours.DESCRIBED} == {
        name: OF_SCORES[name] for name in colours.DESCRIBED
    }


def test_curves_and_views_are_all_told_apart():
    assert set(colours.VIEWS) == set(LINES)
    for curves in (RANK_CURVES, EFFICIENCY_CURVES):
        assert len({colour for _, colour in curves.values()}) == len(curves)
