"""What pages show of lists and notes: a filter by list, the lists that something is on, and the notes on it."""

import html
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from ato.text.display import visible
from dashboards.ui.address import choose
from dashboards.ui.list_writer import remove_note, set_lists, why_read_only, write_note
from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled

ANY = "any"
"""No filter by list."""
SAID = "what became of a change of lists"
"""Key in the session of what went wrong with the last change."""

NAMED = """select list from lists
where $kind = 'feature' and n_features > 0 or $kind = 'operator' and n_operators > 0
order by list"""
ON = """select list from list_members
where kind = $kind and collection = $collection and sae is not distinct from $sae
    and feature_id is not distinct from $feature_id and operator is not distinct from $operator
order by list"""
NOTES = """select note, text, author, strftime(timezone('UTC', noted_at), '%Y-%m-%d %H:%M') as noted_at from notes as n
where kind = $kind and collection = $collection and sae is not distinct from $sae
    and feature_id is not distinct from $feature_id and operator is not distinct from $operator
order by n.noted_at, note"""
LISTED = """
    semi join (
        select sae, feature_id from list_members
        where kind = 'feature' and collection = $collection and list = $list
    ) as listed using (sae, feature_id)"""
"""Behind the FROM clause of rows with ``sae`` and ``feature_id``: only what is on the list ``$list``."""


def choose_list(kind: str, where: Any = None, label: str = "On list", name: str = "list") -> str | None:
    """A field for a list that filters; None for all. Without a list that holds something of the kind there is no field.

    Args:
        kind: feature or operator.
        where: a column or container; None: a line of its own.
        label: of the field.
        name: of the parameter in the address.
    """
    known = [one for one in ask(filled(NAMED, kind=kind))["list"] if one != ANY]
    if not known:
        return None
    where = st.container(width=280) if where is None else where
    chosen = choose(label, name, [ANY, *known], where=where, help="Only what is on this list: `ato list`")
    return None if chosen == ANY else chosen


def own_lists(
    collection: str, *, sae: str | None = None, feature_id: int | None = None, operator: str | None = None
) -> None:
    """A button that opens the lists that a feature or an operator is on, to be changed.

    Args:
        collection: its key.
        sae: key of the feature's SAE.
        feature_id: of the feature.
        operator: key of the operator.
    """
    item = _item(collection, sae, feature_id, operator)
    on = ask(filled(ON, **item))["list"].to_list()
    if said := st.session_state.pop(SAID, None):
        st.toast(plain(said), icon=":material/error:")
    label = f"Lists: {len(on)}" if on else "Add to list"
    with st.popover(label, icon=":material/bookmark:", help="Lists that it is on: " + (plain(", ".join(on)) or "none")):
        if reason := why_read_only():
            st.info(plain(reason))
            return
        key = f"lists of {_name(item)}"
        if st.session_state.get(f"{key} before") != on:
            st.session_state[key] = st.session_state[f"{key} before"] = on
        st.multiselect(
            "Lists",
            sorted({*on, *ask("select list from lists order by list")["list"]}),
            key=key,
            accept_new_options=True,
            placeholder="choose a list, or type a new name",
            on_change=partial(_set, item, on, key),
        )
        st.caption("`ato list` renames, deletes, exports and imports lists.")


def notes(
    collection: str, *, sae: str | None = None, feature_id: int | None = None, operator: str | None = None
) -> None:
    """The notes on a feature or an operator, and a field for one more; arguments as in ``own_lists``."""
    item = _item(collection, sae, feature_id, operator)
    reason = why_read_only()
    panel(
        "Notes",
        filled(NOTES, **item),
        partial(_notes, item, reason is None),
        note="What people noted, with time (UTC) and, from the command line, author. Notes stay when stages run again.",
        empty="No notes yet.",
    )
    if reason is not None:
        st.caption(plain(reason))
        return
    with st.form(f"a note on {_name(item)}", clear_on_submit=True, border=False):
        text = st.text_area("New note", height=80, key=f"new note on {_name(item)}", max_chars=10_000)
        if st.form_submit_button("Add note", icon=":material/add_notes:") and text.strip():
            st.session_state[SAID] = write_note(collection, _name(item), text)
            st.rerun()


def _item(collection: str, sae: str | None, feature_id: int | None, operator: str | None) -> dict[str, Any]:
    kind = "feature" if operator is None else "operator"
    return {"kind": kind, "collection": collection, "sae": sae, "feature_id": feature_id, "operator": operator}


def _name(item: dict[str, Any]) -> str:
    return item["operator"] or f"{item['sae']}/{item['feature_id']}"


def _set(item: dict[str, Any], before: list[str], key: str) -> None:
    st.session_state[SAID] = set_lists(item["collection"], _name(item), before, st.session_state[key])
    st.session_state.pop(f"{key} before", None)  # what is there now is shown, whatever came of it


def _remove(item: dict[str, Any], key: str) -> None:
    st.session_state[SAID] = remove_note(item["collection"], _name(item), key)


def _notes(item: dict[str, Any], changeable: bool, rows: pl.DataFrame) -> None:
    for row in rows.iter_rows(named=True):
        said, button = st.columns([12, 1], vertical_alignment="center")
        text = html.escape(visible(row["text"], keep="\n"))
        about = row["noted_at"] + (f", {row['author']}" if row["author"] else "")
        said.html(
            f"<p style='margin:0;white-space:pre-wrap;overflow-wrap:anywhere'>{text}</p>"
            f"<small style='opacity:.7'>{html.escape(visible(about))}</small>"
        )
        if changeable:
            button.button(
                "",
                icon=":material/delete:",
                key=f"remove note {row['note']}",
                help="Remove this note",
                type="tertiary",
                on_click=partial(_remove, item, row["note"]),
            )
