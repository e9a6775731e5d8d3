"""Tables show what a text holds, and obey none of it."""

import polars as pl

from dashboards.ui.tables import undirected


def test_a_text_in_a_table_cannot_reverse_what_is_read_and_all_else_stays():
    rows = pl.DataFrame(
        {"token": ["\u202eab\u202c", None, "é🦀"], "tokens": [["\u2066x", None], None, []], "n": [1, 2, None]}
    )
    shown = undirected(rows)
    assert shown["token"].to_list() == ["\ufffdab\ufffd", None, "é🦀"]
    assert shown["tokens"].to_list() == [["\ufffdx", None], None, []]
    assert shown["n"].equals(rows["n"])
    assert shown.schema == rows.schema
    assert undirected(pl.DataFrame()).is_empty()
