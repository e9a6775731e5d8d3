"""``ato tables``: what there is, and what its columns mean."""

import pytest

from ato.errors import InputError
from flows.commands.tables import describe_tables
from warehouse.tables import TABLES


def test_all_tables_and_marts_are_listed_with_their_rows(study, capsys):
    describe_tables()
    lines = [line.split("│")[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    rows = {name.strip(): n.strip() for name, n in lines}
    assert set(TABLES) < set(rows)
    assert (rows["collections"], rows["benchmark_results"]) == ("1", "0")
    assert "transport_map" in rows


def test_columns_of_a_table_have_units_and_meanings_and_those_of_a_mart_types(study, capsys):
    describe_tables("saes")
    assert "next-token loss of the unedited model" in capsys.readouterr().out
    describe_tables("transport_map")
    assert "mean_r2_selected" in capsys.readouterr().out


def test_an_unknown_table_lists_the_known_ones(study):
    with pytest.raises(InputError, match=r"no table 'nonesuch'.*choose from .*saes"):
        describe_tables("nonesuch")


def test_a_damaged_table_is_counted_as_damaged(sound, capsys):
    file = next(file for file in sound.storage.names("saes") if file.endswith(".parquet"))
    with open(f"{sound.root}/{file}", "r+b") as damaged:
        damaged.truncate(20)
    describe_tables()
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("│ saes "))
    assert "damaged" in line
