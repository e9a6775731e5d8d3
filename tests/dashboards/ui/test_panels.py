"""A panel: rows or a message, and the statement on request."""

from streamlit.testing.v1 import AppTest


def drawn(sql, opened="True"):
    """A page of one panel."""
    script = f"""
import streamlit as st
from dashboards.ui import panels
panels.OPENED = {opened}
panels.link = lambda *args, **more: None
panels.panel("Title", {sql!r}, lambda rows: st.metric("rows", rows.height), note="A note.", empty="Nothing yet.")
"""
    app = AppTest.from_string(script, default_timeout=60).run()
    assert not app.exception
    return app


def test_rows_are_drawn_above_the_note_and_the_statement(empty):
    app = drawn("select * from range(3)")
    assert app.metric[0].value == "3"
    assert app.caption[0].value == "A note."
    assert app.code[0].value == "select * from range(3)"


def test_without_rows_it_says_what_makes_some(empty):
    app = drawn("from operators")
    assert app.info[0].value == "Nothing yet."
    assert not app.metric


def test_a_statement_that_fails_shows_its_error_in_place_of_the_chart(empty):
    app = drawn("select nothing_like_it from operators")
    assert 'no column "nothing_like_it"' in app.error[0].value
    assert app.code[0].value.startswith("select nothing_like_it")


def test_the_statement_is_sent_on_request_only(empty):
    assert not drawn("select 1 as one", opened="False").code


def test_code_is_sent_on_request_only():
    script = """
from dashboards.ui import panels
panels.OPENED = {opened}
panels.code("Load it", "import ato", "ato.load_operator(path)", language="python")
"""
    closed, opened = (
        AppTest.from_string(script.format(opened=opened), default_timeout=60).run() for opened in (False, True)
    )
    assert [expander.label for expander in closed.expander] == ["Load it"]
    assert not closed.code
    assert [block.value for block in opened.code] == ["import ato", "ato.load_operator(path)"]
