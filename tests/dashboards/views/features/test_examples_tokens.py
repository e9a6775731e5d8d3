"""Features of each token in stored examples: those of plain encoding, from the stored residuals, on request."""

import json

import pytest

from tests.dashboards.opened_pages import messages, open_page
from tests.dashboards.planted_texts import FEATURE, LAYER, RATE, SAE
from tests.tasks.reported_study import SAES


def examples(app):
    return [json.loads(one.proto.json) for one in app.get("bidi_component")]


@pytest.mark.usefixtures("planted")
def test_without_a_request_no_residual_is_read():
    assert not examples(open_page("features", sae=SAE, feature_id=FEATURE))


def test_a_token_of_an_example_has_the_features_of_plain_encoding(planted):
    app = open_page("features", sae=SAE, feature_id=FEATURE, tokens="on")
    assert not app.error
    (view,) = examples(app)
    text, ids = planted.sequences[0]
    dense, start = planted.activations(ids), 2
    assert "".join(piece["text"] for piece in view["pieces"]) == text[start : start + len(view["pieces"])]
    for i, piece in enumerate(view["pieces"]):
        (of,) = piece["details"]
        expected = dense[start + i]
        numbers = [number for number, *_ in of["rows"]]
        assert sorted(numbers) == expected.nonzero()[0].tolist()
        strongest = [
            f"L{LAYER}/{number} {expected[number]:.3f}" for number in sorted(numbers, key=lambda n: -expected[n])[:3]
        ]
        lines = piece["title"].split("\n")
        assert [line for line in lines if line.startswith(f"L{LAYER}/")] == strongest
        assert f"activation: {expected[FEATURE]:.3f}" in lines
    assert view["names"][str(FEATURE)]["rate"] == RATE


def test_what_is_not_stored_is_said_and_the_examples_stay(study):
    app = open_page("features", sae=SAES[4], feature_id=0, tokens="on")
    assert not app.error
    assert any("Features of each token are not known here" in text for text in messages(app))
    assert sum("pre-wrap" in block.proto.body for block in app.get("html")) > 0


@pytest.mark.usefixtures("planted")
def test_the_switch_stands_in_the_address():
    app = open_page("features", sae=SAE, feature_id=FEATURE)
    app = app.toggle(key="tokens").set_value(True).run()
    assert not app.exception
    assert examples(app)
    assert app.query_params["tokens"] in ("on", ["on"])
