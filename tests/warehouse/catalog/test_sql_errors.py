"""A wrong statement is answered on one line, with the nearest name."""

import pytest

from ato.errors import InputError
from warehouse.catalog.query import run_select


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select stepp from sae_training", 'no column "stepp": did you mean "step"?'),
        ("select t.stepp from sae_training t", 'no column "stepp": did you mean "step"?'),
        (
            "select 1\nfrom sae_training\nwhere dead_shar > 0",
            'no column "dead_shar" (line 3): did you mean "dead_share"?',
        ),
        (
            "with t as (select lr as speed from sae_training) select sped from t",
            'no column "sped": did you mean "speed"?',
        ),
        (
            'select step from sae_training where architecture = "topk"',
            "no column \"topk\": if it is text, write 'topk'",
        ),
        (
            "select share_transported from sae_training",
            'no column "share_transported": it is a column of transport_map',
        ),
        ("from sae_trainin", 'no table "sae_trainin": did you mean "sae_training"?'),
        ("from transportmap", 'no table "transportmap": did you mean "transport_map"?'),
        ("from xyzzy", 'no table "xyzzy": `show tables` lists all'),
        (
            "select step,\nfrm sae_training",
            'no column "step" (line 1): no table in the statement has it: add FROM, or the missing table',
        ),
        ("select step\nfrom sae_training\nwhere where", 'syntax error at or near "where" (line 3)'),
        ("selct 1", 'syntax error at or near "selct"'),
    ],
)
def test_a_wrong_statement_is_answered_with_the_nearest_name_and_its_line(db, sql, said):
    with pytest.raises(InputError) as raised:
        run_select(db, sql)
    assert str(raised.value).split(" (also near")[0] == said


def test_a_pivot_without_values_is_answered_with_its_cure(db):
    with pytest.raises(InputError, match="pivot t on column in"):
        run_select(db, "pivot sae_training on step using sum(lr)")
