"""Names of position policies, and the keys that x has under them."""

import pickle
from itertools import pairwise, permutations

import pytest

from ato.errors import SettingsError
from ato.residuals.position_policies import SourceKey, layer_number, parse_policy, permuted_key, source_key


@pytest.mark.parametrize(
    ("name", "kind", "offset", "k"),
    [
        ("same", "same", 0, 0),
        ("previous", "offset", 1, 0),
        ("offset:1", "offset", 1, 0),
        ("offset:12", "offset", 12, 0),
        ("attended", "attended", 0, 1),
        ("attended:3", "attended", 0, 3),
        ("shuffled", "shuffled", 0, 1),
        ("shuffled:10", "shuffled", 0, 10),
    ],
)
def test_a_name_says_which_position_is_the_source(name, kind, offset, k):
    policy = parse_policy(name)
    assert (policy.name, policy.kind, policy.offset, policy.k) == (name, kind, offset, k)
    assert policy.needs_attention == (kind in ("attended", "shuffled"))


@pytest.mark.parametrize("name", ["", "attended:0", "offset", "offset:0", "offset:-1", "next", "same:1", "ATTENDED"])
def test_other_names_are_refused_with_all_that_there_are(name):
    with pytest.raises(SettingsError, match=r"unknown position policy.*choose same, previous, offset:m, attended"):
        parse_policy(name)


def test_a_key_tells_apart_what_holds_other_rows_and_nothing_else():
    assert source_key(1, 4, "same") == source_key(1, 6, "same") == 1
    assert source_key(1, 4, "previous") == source_key(1, 6, parse_policy("previous")) == SourceKey(1, policy="offset")
    assert source_key(1, 4, "attended") == source_key(1, 4, "shuffled") == SourceKey(1, 4, "attended")
    keys = [1, 2, *(source_key(s, t, p) for s, p in ((1, "previous"), (2, "previous")) for t in (4,))]
    keys += [source_key(s, t, "attended") for s in (1, 2) for t in (4, 6)]
    keys += [permuted_key(key) for key in keys]
    assert len(set(keys)) == len(keys) == 16
    assert [layer_number(key) for key in keys] == 2 * [1, 2, 1, 2, 1, 1, 2, 2]
    assert permuted_key(permuted_key(1)) == permuted_key(1)


def test_keys_are_sorted_in_one_way_behind_plain_layers():
    keys = [
        3,
        0,
        source_key(0, 4, "previous"),
        source_key(0, 4, "attended"),
        source_key(0, 5, "attended"),
        permuted_key(0),
    ]
    in_order = sorted(keys)
    assert in_order[:2] == [0, 3]
    assert all(a < b and b > a and not b < a and a <= b for a, b in pairwise(in_order))
    assert all(sorted(order) == in_order for order in permutations(keys))


def test_keys_survive_pickling_and_are_readable():
    for key in (source_key(0, 4, "previous"), source_key(0, 4, "attended"), permuted_key(7)):
        assert pickle.loads(pickle.dumps(key)) == key
        assert hash(pickle.loads(pickle.dumps(key))) == hash(key)
    assert f"{source_key(0, 4, 'previous')}" == "0 offset"
    assert f"{permuted_key(source_key(0, 4, 'attended'))}" == "0 attended by 4 permuted"
