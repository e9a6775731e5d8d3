"""Curves of the fit."""

import pytest

from tests.dashboards.opened_pages import panels
from tests.dashboards.views.operators.fitted_study import FOLDS, STRENGTHS


def test_the_strength_curve_is_the_mean_of_its_folds(fit):
    rows = panels(fit)["Regularisation (alpha)"].rows
    assert rows.height == len(FOLDS) * len(STRENGTHS)
    for (alpha,), part in rows.group_by("alpha"):
        assert part["mean_r2"].unique().to_list() == pytest.approx([part["r2"].mean()])
        assert part["chosen"].unique().to_list() == [alpha == 10.0]
