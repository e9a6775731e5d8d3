"""The life of a feature, from planted fates: layers on which only the ridge operator has decided leave no gap."""

from pathlib import Path

import duckdb
import pytest

import warehouse

LIFE = (Path(warehouse.__file__).parent / "sql" / "feature_life.sql").read_text()
NOTHING = (
    "create table latest_evaluations (collection text, evaluation text, sae text, part text, kind text, is_latest bool)",
    """create table feature_links (collection text, evaluation text, sae text, layer int, feature_id int, other_layer int,
    other_sae text, method text, decoder_verdict text, transport_verdict text, nearest_feature int, decoder_cosine double,
    decoder_cosine_chance double, transport_feature int, transport_cosine double, transport_cosine_chance double)""",
)


def life(*fates: tuple[int, str, str]) -> list[tuple]:
    """(layer, born_at, birth_seen) by layer, of a feature of layer 16 with a (layer, ridge's verdict, fate) each."""
    connection = duckdb.connect()
    for statement in NOTHING:
        connection.execute(statement)
    numbers = """null::int as nearest_feature, 0.1 as decoder_cosine, 0.1 as decoder_cosine_chance, null::int as transport_feature,
    0.1 as transport_cosine, 0.1 as transport_cosine_chance, 0.1 as r2, 0.1 as r2_low, 0.1 as r2_high, 0.1 as r2_identity,
    0.1 as agreement, 0.1 as agreement_low, 0.1 as agreement_high, 9 as n_active"""
    rows = " union all ".join(
        f"select 'c' as collection, 's16' as sae, 16 as target_layer, 5 as feature_id, {layer} as source_layer, "
        f"'s' as source_sae, '{fate}' as fate, '{ridge}' as verdict_ridge, {numbers}"
        for layer, ridge, fate in fates
    )
    connection.execute(f"create table feature_fate as {rows}")
    return connection.sql(f"select layer, born_at, birth_seen from ({LIFE}) order by layer").fetchall()


@pytest.mark.parametrize(
    ("fates", "born", "seen"),
    [
        ([(12, "transported", "undetermined"), (8, "transported", "rewritten")], 8, False),
        ([(12, "transported", "undetermined"), (8, "computed", "computed")], 12, True),
        ([(12, "undetermined", "undetermined"), (8, "transported", "rewritten")], 16, False),
        (
            [(12, "transported", "carried"), (8, "undetermined", "undetermined"), (4, "transported", "carried")],
            12,
            False,
        ),
    ],
)
def test_a_feature_is_born_where_ridge_transports_it_from_then_on_whatever_the_identity_says(fates, born, seen):
    found = life(*fates)
    assert [row[0] for row in found] == sorted([*(layer for layer, *_ in fates), 16])
    assert {row[1:] for row in found} == {(born, seen)}
