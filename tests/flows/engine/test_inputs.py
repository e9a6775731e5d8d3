"""What a flow is given does not run again; what it lacks does, once each, in order."""

from typing import Any

import pytest

from flows import stages
from flows.engine.inputs import inputs_of
from flows.settings import load_settings

PLAIN, FOR_SELECTED = (load_settings("demo", [f"operators.methods=[ridge{more}]"]) for more in ("", ", rrr_features"))


@pytest.fixture
def ran(monkeypatch) -> list[tuple[str, dict[str, Any]]]:
    """Stages whose flows were run, with their arguments; each returns its name."""
    found: list[tuple[str, dict[str, Any]]] = []

    def load(stage):
        def flow(settings, collection=None, sae_keys=None, pair_keys=None, profile=None):
            keys = {"collection": collection, "sae_keys": sae_keys, "pair_keys": pair_keys}
            found.append((stage.name, {name: value for name, value in keys.items() if value}))
            return f"of {stage.name}"

        return flow

    monkeypatch.setattr(stages.StageSpec, "load", load)
    return found


def test_with_nothing_given_all_that_is_needed_runs_and_hands_its_keys_on(ran):
    found = inputs_of("evaluate", PLAIN, collection=None, sae_keys=None, pair_keys=None)
    assert found == ("of collect", "of saes", "of operators")
    assert ran == [
        ("collect", {}),
        ("saes", {"collection": "of collect"}),
        ("operators", {"collection": "of collect", "sae_keys": "of saes"}),
    ]


def test_what_is_given_is_not_made_again(ran):
    assert inputs_of("causal", PLAIN, collection="c", sae_keys=["s"], pair_keys=None) == ("c", ["s"], "of operators")
    assert [name for name, _ in ran] == ["features", "operators"]


def test_with_everything_given_nothing_runs(ran):
    assert inputs_of("explain", PLAIN, collection="c", sae_keys=["s"]) == ("c", ["s"])
    assert inputs_of("report", PLAIN, collection="c") == ("c",)
    assert ran == []


def test_operators_bring_features_up_to_date_only_where_a_method_needs_them(ran):
    assert inputs_of("operators", PLAIN, collection="c", sae_keys=None) == ("c", None)
    assert ran == []
    assert inputs_of("operators", FOR_SELECTED, collection="c", sae_keys=None) == ("c", "of saes")
    assert [name for name, _ in ran] == ["saes", "features"]


def test_so_does_every_flow_that_reads_operators(ran):
    inputs_of("evaluate", FOR_SELECTED, collection="c", sae_keys=None, pair_keys=None)
    assert [name for name, _ in ran] == ["saes", "features", "operators"]
