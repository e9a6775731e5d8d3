"""LaTeX tables: any text is typeset as it is, numbers have sensible digits, intervals one column."""

import unicodedata
from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.text.display import visible
from tests.warehouse.exports.latex_reader import table, typeset
from warehouse.exports.about import About
from warehouse.exports.latex import LONGEST_TABLE, latex_file
from warehouse.exports.latex_text import latex, prose

ABOUT = About(
    "Per-feature r²",
    "Mean, 95 % interval; `--` is none.",
    "3 features",
    "select 1 -- 50 %\nfrom x",
    "c-1",
    date(2026, 1, 2),
)
ACTING = "\\{}$&#%_^~<>|\"'`-,[]*!?/ \n\tab–—“”‘’…·⎵␣αΩ→↵é ü²₂ß中\u202e\x00"


def written(**columns):
    return latex_file(pl.DataFrame(columns, strict=False), ABOUT).decode()


def said(text):
    """A text as its reader sees it."""
    return unicodedata.normalize("NFC", visible(text, keep="\n\t")).translate(
        {ord("⎵"): " ", ord("␣"): " ", 0xA0: " ", ord("↵"): "\n", ord("⇥"): "\t", ord("²"): "^(2)", ord("₂"): "_(2)"}
    )


@given(st.text(ACTING))
def test_any_text_is_typeset_as_it_is(text):
    assert typeset(latex(text)) == said(text)


@given(st.text())
def test_any_character_gives_ascii_that_compiles(text):
    typeset(latex(text))
    typeset(prose(text))


@given(st.lists(st.text(ACTING), min_size=1, max_size=4))
def test_any_text_stands_in_its_cell(texts):
    _, heads, cells = table(written(words=texts, n=list(range(len(texts)))))
    assert heads == ["words", "n"]
    assert [typeset(row[0]) for row in cells] == [said(text) for text in texts]
    assert [row[1] for row in cells] == [str(i) for i in range(len(texts))]


@given(st.text(ACTING, min_size=1))
def test_any_name_of_a_column_is_a_heading(name):
    table(latex_file(pl.DataFrame({name: [1], "other": [2]}), ABOUT).decode())


def test_a_value_and_its_interval_are_one_column():
    _, heads, cells = table(written(r2=[0.712, None, -0.02], r2_low=[0.66, None, None], r2_high=[0.75, None, None]))
    assert heads == ["r2 [low, high]"]
    assert cells == [["0.712 [0.660, 0.750]"], ["--"], ["$-$0.020"]]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.7, 0.123456], ["0.700", "0.123"]),
        ([123.456, 1.5], ["123.5", "1.5"]),
        ([2.0, 3.0, None], ["2", "3", "--"]),
        ([0.5, 3e-9], ["0.5000", r"$3.00 \times 10^{-9}$"]),
        ([0.000123, 0.00021], ["0.000123", "0.000210"]),
        ([2.5e7, 1.5], [r"$2.50 \times 10^{7}$", "1.50"]),
        ([-0.5, float("inf"), float("-inf"), float("nan")], ["$-$0.500", r"$\infty$", r"$-$$\infty$", "nan"]),
        ([0.0, None], ["0", "--"]),
    ],
)
def test_numbers_of_a_column_have_the_same_sensible_decimals(values, shown):
    _, _, cells = table(written(score=values))
    assert [cell for (cell,) in cells] == shown


def test_counts_have_thousands_apart_and_names_of_features_have_not():
    _, _, cells = table(written(feature_id=[12345], n_tokens=[12345], step=[-7]))
    assert cells == [["12345", "12,345", "$-$7"]]


def test_other_values_are_words():
    _, _, cells = table(written(ok=[True, None], day=[date(2026, 1, 2), None], tokens=[[" a", None], []]))
    assert [[typeset(cell) for cell in row] for row in cells] == [["yes", "2026-01-02", " a, –"], ["–", "–", ""]]


def test_a_long_table_repeats_its_head_on_every_page():
    rows = list(range(LONGEST_TABLE + 1))
    text = written(row=rows)
    assert r"\endhead" in text
    assert r"\usepackage{longtable}" in text
    assert [cell for (cell,) in table(text)[2]] == [str(row) for row in rows]
    assert "longtable" not in written(row=rows[:-1])


def test_caption_and_comments_say_what_it_shows():
    text = written(row=[1])
    assert table(text)[0] == "Per-feature r^(2). Mean, 95 % interval; `--` is none. n: 3 features."
    assert "% statement: select 1 -- 50 %\n% statement: from x\n% collection: c-1\n% date: 2026-01-02\n" in text


@given(st.text())
def test_no_line_of_a_statement_leaves_its_comment(sql):
    text = latex_file(pl.DataFrame({"x": [1]}), About("T", "", "1", sql, "", date(2026, 1, 2))).decode()
    before = text.partition("\\begin")[0]
    assert all(line.startswith("%") for line in before.splitlines())
