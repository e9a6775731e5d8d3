"""The reader on planted documents: exactly the stored text, the right token, activations of plain encoding, links to rows."""

import json

import pytest
import torch

from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels
from tests.dashboards.planted_texts import FEATURE, LAYER, SAE, TEXTS
from tests.warehouse.small_warehouse import COLLECTION


def views(app):
    """What the texts of a page were drawn from, from the top."""
    return [
        json.loads(one.proto.json)
        for one in app.get("bidi_component")
        if one.proto.component_name.endswith("token_view")
    ]


def text_of(view):
    return "".join(piece["text"] for piece in view["pieces"])


def links(app):
    return [(one.proto.label, one.proto.query_string) for one in app.get("page_link")]


def test_a_document_is_its_stored_text_in_order_with_metadata_and_split(planted):
    app = open_page("reader", document="union")
    assert not app.error
    assert tuple(map(text_of, views(app))) == TEXTS["union"]
    shown = check_numbers(app)
    assert ("Split", "train") in [(one.label, one.value) for one in app.metric]
    assert any(one.value == "speaker **Lincoln** · year **1862**" for one in app.markdown)
    assert shown["Text"].rows["n_left_out"].to_list() == [5, 5]
    said = " ".join(caption.value for caption in app.caption)
    assert "5 tokens before it were not collected · sequence 0, tokens 5 to 28" in said.replace(
        "5 to 27 of", "5 to 27 of"
    )


def test_characters_of_several_tokens_are_one_piece(planted):
    pieces = [piece["text"] for piece in views(open_page("reader", document="union"))[1]["pieces"]]
    assert [one for one in pieces if not one.isascii()] == ["é", "日", "本"]


def test_the_token_of_the_address_is_marked(planted):
    text = TEXTS["union"][0]
    position = text.index("U")
    first, second = views(open_page("reader", sequence=0, position=position))
    assert [piece["text"] for piece in first["pieces"] if piece["marked"]] == ["U"]
    assert [i for i, piece in enumerate(first["pieces"]) if piece["marked"]] == [position]
    assert not any(piece["marked"] for piece in second["pieces"])


def test_highlights_are_the_activations_of_plain_encoding(planted):
    _, ids = planted.sequences[0]
    expected = planted.activations(ids)[:, FEATURE]
    expected[0] = 0  # not stored
    first, _ = views(open_page("reader", document="union", features=f"{LAYER}/{FEATURE}"))
    assert [bool(piece["colours"]) for piece in first["pieces"]] == [value > 0 for value in expected]
    for piece, value in zip(first["pieces"][1:], expected[1:]):
        assert f"L{LAYER}/{FEATURE}: {value:.3f}" in piece["title"]


def test_a_click_lists_the_features_of_plain_encoding_strongest_first(planted):
    _, ids = planted.sequences[0]
    dense = planted.activations(ids)
    first, _ = views(open_page("reader", document="union", token_sae=SAE))
    assert first["pieces"][0]["details"][0]["n_active"] is None, "the first token was not collected"
    for token, piece in enumerate(first["pieces"][1:], 1):
        (of,) = piece["details"]
        numbers = [number for number, *_ in of["rows"]]
        assert sorted(numbers) == dense[token].nonzero()[0].tolist()
        assert [value for _, value, _ in of["rows"]] == pytest.approx(
            sorted(dense[token][numbers], reverse=True), abs=1e-4
        )
        assert dict(of["numbers"])["norm of the residual"] == pytest.approx(
            float(planted.residuals(LAYER, ids)[token].norm()), rel=1e-4
        )
    number = str(first["pieces"][1]["details"][0]["rows"][0][0])
    assert first["names"][number]["href"] == f"features?collection={COLLECTION}&sae={SAE}&feature_id={number}&tokens=on"


def test_features_that_fire_more_often_than_the_slider_says_are_not_listed(planted):
    everything, few = (
        views(open_page("reader", document="union", token_sae=SAE, densest=share)) for share in ("100 %", "20 %")
    )

    def listed(found):
        return {
            number for view in found for piece in view["pieces"] for of in piece["details"] for number, *_ in of["rows"]
        }

    assert FEATURE in listed(everything)
    assert listed(few) == listed(everything) - {FEATURE}


def test_losses_are_those_of_the_model_and_made_on_request(planted):
    _, ids = planted.sequences[0]
    batch = torch.tensor([ids])
    expected = planted.model.token_losses(batch, torch.tensor([len(ids)]))[0].tolist()
    shade = "loss on the next token (nats)"
    first, _ = views(open_page("reader", document="union", shade=shade))
    for piece, loss in zip(first["pieces"], expected):
        assert f"{shade}: {loss:.3f}" in piece["title"]
    assert shade not in first["pieces"][-1]["title"]


def test_every_sequence_leads_to_its_rows(planted):
    app = open_page("reader", document="union")
    rows = [query for label, query in links(app) if label == "Its row"]
    assert len(rows) == len(TEXTS["union"])
    assert "sequence_id+%3D+1" in rows[1]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ({}, ["union", "other"]),
        ({"words": "nothing"}, ["other"]),
        ({"words": "union 日本"}, ["union"]),
        ({"words": "union nothing"}, []),
        ({"by_stratum": "year", "value": "1901"}, ["other"]),
    ],
)
def test_documents_are_found_by_words_and_metadata(planted, address, found):
    app = open_page("reader", **address)
    assert not app.error
    rows = panels(app)["Documents"].rows
    assert (rows["document_id"].to_list() if rows.height else []) == found
    if found:
        check_numbers(app)


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ({"document": "no such"}, "No document no such"),
        ({"sequence": "99"}, "No sequence 99"),
        ({"document": "union", "features": "L9/1,x,L1/999"}, "No such feature: L9/1, x, L1/999"),
    ],
)
def test_an_address_that_names_nothing_is_one_line(planted, address, line):
    app = open_page("reader", **address)
    assert any(line in text for text in messages(app))


def test_without_the_models_files_the_text_stands_whole_and_the_page_says_why(study):
    app = open_page("reader", document="doc0")
    assert not app.error
    assert any(
        "The text is shown without its tokens: the model is not on this machine" in text for text in messages(app)
    )
    assert not views(app)


def test_an_empty_warehouse_says_how_to_fill_it(empty):
    assert any("ato run" in text for text in messages(open_page("reader")))
