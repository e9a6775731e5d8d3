"""Spectra of an operator."""

import pytest

from tests.dashboards.opened_pages import panels


def test_a_long_spectrum_is_thinned_and_zeros_are_left_out(fit):
    rows = panels(fit)["Spectrum"].rows
    assert rows["mode"].to_list()[:64] == list(range(1, 65))
    assert 200 < rows.height < 400
    assert rows["singular_value"].null_count() == (rows["mode"] > 500).sum()
    assert rows["modulus"].to_list() == pytest.approx([1 / m for m in rows["mode"]])
