"""What settings may name comes from the registries of ``ato``, without anything heavy."""

import subprocess
import sys
from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from ato.causal.interventions import INTERVENTIONS, ResidualEdits
from ato.errors import SettingsError
from ato.models.sites import SITES
from ato.operators.methods import METHODS
from ato.operators.strengths import strengths_of
from ato.residuals.position_policies import parse_policy
from tasks.settings import CausalSettings, OperatorSettings
from tasks.settings.causal import Intervention
from tasks.settings.collect import Site
from tasks.settings.operators import Method, PositionPolicy


@pytest.mark.parametrize(("choice", "names"), [(Method, METHODS), (Site, SITES), (Intervention, INTERVENTIONS)])
def test_settings_offer_every_name_of_the_registry_in_its_order(choice, names):
    assert list(get_args(choice)[1].names) == list(names)
    assert TypeAdapter(choice).json_schema()["enum"] == list(names)
    with pytest.raises(ValidationError):
        TypeAdapter(choice).validate_python("rigde")


def test_all_interventions_are_made_by_default_and_no_others_are_known():
    with pytest.raises(SettingsError, match="unknown"):
        ResidualEdits(1, {}, [], ["rigde"])
    assert CausalSettings().interventions == list(INTERVENTIONS)


@pytest.mark.parametrize("name", ["same", "previous", "offset:3", "attended", "attended:2", "shuffled:4"])
def test_position_policies_are_those_that_can_be_parsed(name):
    assert parse_policy(TypeAdapter(PositionPolicy).validate_python(name)).name == name


@pytest.mark.parametrize("name", ["offset:0", "offset", "attended:0", "same:1", "next", ""])
def test_other_position_policies_are_refused_by_both(name):
    with pytest.raises(ValidationError):
        TypeAdapter(PositionPolicy).validate_python(name)
    with pytest.raises(SettingsError):
        parse_policy(name)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_is_given_the_settings_that_it_has_and_its_own_grid(method):
    settings = OperatorSettings(alphas=[1.0, 2.0], l1_alphas=[3.0, 4.0, 5.0], l1_ratios=[0.5])
    options = settings.options(method)
    assert set(options) == set(METHODS[method].parameters) - {"decoder"}
    grids = {"sum": settings.alphas, "mean": settings.l1_alphas, None: None}
    assert options.get("alphas") == grids[METHODS[method].penalised]
    strengths_of(method, options.get("alphas"), options.get("l1_ratios"))


@pytest.mark.parametrize("module", ["dashboards.ui.charts", "warehouse.tables"])
def test_reading_the_registries_imports_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
