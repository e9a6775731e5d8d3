"""``ato compare``: planted differences as tables and JSON, and mistakes in one line."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli import app
from tests.dashboards.whole_study import build_whole_study
from tests.tasks.reported_study import SAES


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The whole study, the warehouse of the environment meanwhile."""
    warehouse = build_whole_study(tmp_path_factory.mktemp("compared"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(warehouse.root))
        yield warehouse


def compare(*words: str):
    return CliRunner().invoke(app, ["compare", *words])


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        ("feature:L4/1", "L6/2", "r2 from layer 3"),
        ("operator:ridge-3-6", "identity-3-6", "mean r2 of shared"),
        (f"sae:{SAES[4]}", SAES[6], "FVU"),
        ("entity:City <0> (city)", "City <1>", "right answers"),
        ("graph:capital/attribution", "river/attribution", "What both have"),
    ],
)
def test_both_sides_and_their_differences_are_printed(study, left, right, told):
    shown = compare(left, right)
    assert shown.exit_code == 0, shown.output
    assert "Differences: right less left, with 95 % intervals" in shown.output
    assert told in shown.output
    assert "None" not in shown.output


def test_json_has_every_row_of_every_part(study):
    done = compare("operator:identity-3-6", "ridge-3-6", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["left"]["address"].startswith("operator:identity-3-6@")
    assert len(found["r2 of shared features"]) == 20
    (mean,) = (row for row in found["Differences"] if row["quantity"] == "mean r2 of shared features")
    assert mean["difference"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("L4/1", "L4/2", "write KIND:ID"),
        ("feature:L4/1", "sae:x", "no SAE 'x'"),
        ("feature:L4/1", f"sae:{SAES[4]}", "choose two of one kind"),
    ],
)
def test_mistakes_are_one_line_with_their_cure(study, left, right, message):
    refused = compare(left, right)
    assert refused.exit_code != 0
    assert message in str(refused.exception)
    assert "\n" not in str(refused.exception)
