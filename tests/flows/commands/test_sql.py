"""``ato sql``: every format holds the same rows, and a terminal shows no more than it can."""

import io
import json

import polars as pl
import pyarrow.parquet as pq
import pytest

from ato.errors import InputError
from flows.commands import sql
from flows.commands.sql import MAX_SHOWN_ROWS, ask, format_value, shell
from tests.warehouse.exports.latex_reader import table

QUERY = "select layer, trusted from saes order by layer"


def test_each_format_holds_the_same_rows(study, capsys, monkeypatch):
    ask(QUERY, "json")
    expected = json.loads(capsys.readouterr().out)
    assert len(expected) == 2
    ask(QUERY, "csv")
    assert pl.read_csv(capsys.readouterr().out.encode()).to_dicts() == expected
    ask(QUERY)
    assert capsys.readouterr().out.count("│") == 3 * len(expected)


def test_parquet_goes_to_a_file_and_not_to_a_terminal(study, monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    buffer = io.BytesIO()
    monkeypatch.setattr(sql.sys, "stdout", io.TextIOWrapper(buffer))
    ask(QUERY, "parquet")
    assert pl.read_parquet(io.BytesIO(buffer.getvalue())).columns == ["layer", "trusted"]
    monkeypatch.setattr(sql.sys, "stdout", Terminal(io.BytesIO()))
    with pytest.raises(InputError, match="redirect it"):
        ask(QUERY, "parquet")


def test_a_long_result_is_cut_and_says_so(study, capsys):
    ask(f"select * from range({MAX_SHOWN_ROWS + 1})")
    assert f"first {MAX_SHOWN_ROWS} rows" in capsys.readouterr().out
    ask(f"select * from range({MAX_SHOWN_ROWS})")
    assert "first" not in capsys.readouterr().out


def test_the_shell_runs_statements_and_survives_a_wrong_one(study, monkeypatch, capsys):
    monkeypatch.setattr(
        sql.sys, "stdin", io.StringIO("select 1 as a;\nselect nonsense;\nselect\n2 as b;\nexit\nselect 3;")
    )
    shell("csv")
    printed = capsys.readouterr()
    assert printed.out == "a\n1\nb\n2\n"
    assert "nonsense" in printed.err


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (True, "yes"), (0.5, "0.5"), (1 / 3, "0.3333"), (1e-5, "1e-05"), (12345.678, "1.235e+04")]
    + [(7, "7"), (12_345, "12,345"), ("x" * 200, "x" * 117 + "...")],
)
def test_values_are_shown_as_people_read_them(value, shown):
    assert format_value(value) == shown


def test_a_text_of_the_corpus_is_neither_markup_nor_a_command_of_the_terminal(study, capsys):
    ask("select '[/INST] [red]' as a, chr(27) || '[31m' || chr(8238) || 'x' as b, '[bold]' as \"[/b]\"")
    said = capsys.readouterr().out
    assert "[/INST] [red]" in said
    assert "[/b]" in said
    assert "\x1b" not in said
    assert "\u241b[31m\ufffdx" in said


def test_a_statement_that_nests_too_deeply_is_one_line(study):
    with pytest.raises(InputError, match="nested too deeply") as raised:
        ask("select " + " + ".join(["1"] * 5000))
    assert "\n" not in str(raised.value)


def test_a_very_long_statement_is_refused_before_it_costs_anything():
    with pytest.raises(InputError, match=r"characters, more than 200,000: select what"):
        ask(" union all ".join(["select 1"] * 20_000), connection=object())


def test_a_file_has_the_format_of_its_ending_and_says_what_it_holds(study, tmp_path, capsys):
    ask(QUERY, output=tmp_path / "new" / "rows.tex", caption="SAEs of the study")
    caption, heads, cells = table((tmp_path / "new" / "rows.tex").read_text())
    assert (caption, heads, len(cells)) == ("SAEs of the study. n: 2 rows.", ["layer", "trusted"], 2)
    ask(QUERY, output=tmp_path / "rows.parquet")
    assert pq.read_schema(tmp_path / "rows.parquet").metadata[b"statement"].decode() == QUERY
    ask(QUERY, output=tmp_path / "rows.csv")
    assert pl.read_csv(tmp_path / "rows.csv").equals(pl.read_parquet(tmp_path / "rows.parquet"))
    assert json.loads((tmp_path / "rows.csv-metadata.json").read_text())["dc:source"] == QUERY
    ask(QUERY, "csv", output=tmp_path / "rows.txt")
    assert (tmp_path / "rows.txt").read_bytes() == (tmp_path / "rows.csv").read_bytes()
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match="no format for this file"):
        ask(QUERY, output=tmp_path / "rows.xyz")


def test_latex_goes_to_the_terminal_too(study, capsys):
    ask(QUERY, "latex")
    assert len(table(capsys.readouterr().out)[2]) == 2
