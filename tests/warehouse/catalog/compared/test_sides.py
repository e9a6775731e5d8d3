"""Addresses of things: each leads back to the thing that wrote it, and mistakes are one line with their cure."""

import pytest

from ato.errors import InputError
from tests.warehouse.catalog.compared.planted import OTHER, OTHER_SAE
from tests.warehouse.small_warehouse import COLLECTION, SAE
from warehouse.catalog.compared.kinds import KINDS
from warehouse.catalog.compared.sides import pair, resolve
from warehouse.catalog.literals import filled


@pytest.mark.parametrize("reader", [COLLECTION, OTHER, None])
@pytest.mark.parametrize(
    "text",
    [
        f"feature:{SAE}/3",
        f"feature:{OTHER_SAE}/3",
        f"feature:L4/3@{OTHER}",
        "operator:better-2-4",
        f"operator:ridge-2-4-there@{OTHER}",
        f"sae:{SAE}",
        f"collection:{OTHER}",
    ],
)
def test_an_address_leads_back_to_its_thing(ask, text, reader):
    side = resolve(text, reader, ask)
    for written in (side.address(reader), side.address(), side.address(COLLECTION)):
        at = COLLECTION if written == side.address(COLLECTION) else reader
        assert resolve(written, at, ask) == side


def test_the_collection_stands_in_an_address_only_where_it_is_another(ask):
    side = resolve("feature:L4/3", COLLECTION, ask)
    assert side.address(COLLECTION) == f"feature:{SAE}/3"
    assert side.address(OTHER) == f"feature:{SAE}/3@{COLLECTION}"


def test_the_right_side_may_leave_out_its_kind(ask):
    left, right = pair("feature:L4/3", f"L4/5@{OTHER}", COLLECTION, ask)
    assert (left.values["feature_id"], right.values["feature_id"], right.collection) == (3, 5, OTHER)


@pytest.mark.parametrize("name", ["4/3", "l4/3", f"{SAE}/3"])
def test_a_feature_has_the_names_that_it_has_everywhere(ask, name):
    assert resolve(f"feature:{name}", COLLECTION, ask) == resolve("feature:L4/3", COLLECTION, ask)


def test_what_the_lists_offer_can_be_chosen(ask):
    for name in ("operator", "sae", "collection"):
        offered = ask(filled(KINDS[name].offered, collection=COLLECTION))
        assert offered
        assert all(resolve(f"{name}:{row['id']}", COLLECTION, ask).id == row["id"] for row in offered)


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("L4/3", "L4/4", "names no kind of thing"),
        ("feature:L4", "L4/4", "write 12/345, L12/345 or SAE/345"),
        ("feature:L5/3", "L4/4", "no SAE 'L5'"),
        ("feature:nothing/3", "L4/4", "no SAE 'nothing'"),
        ("feature:L4/12", "L4/4", "has no feature 12"),
        ("operator:nothing", "ridge-2-4", "no operator 'nothing'"),
        (f"operator:ridge-2-4@{OTHER}", "ridge-2-4", "no operator 'ridge-2-4'"),
        ("feature:L4/3", "operator:ridge-2-4", "choose two of one kind"),
        ("sae:SAE@nowhere", SAE, "no collection 'nowhere'"),
        ("entity:Paris (city)", "London (city)", "ato run entities"),
        ("graph:capital/attribution", "river/attribution", "ato run graphs"),
    ],
)
def test_mistakes_are_one_line(ask, left, right, message):
    with pytest.raises(InputError) as caught:
        pair(left, right, COLLECTION, ask)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
