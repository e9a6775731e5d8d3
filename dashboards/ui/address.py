"""Choices kept in a page's address, so that a link reproduces the page."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

from dashboards.ui.reading import ask

T = TypeVar("T")
_WHOLE = re.compile(r"\d{1,18}")


def choose(
    label: str,
    name: str,
    options: Sequence[T],
    *,
    default: T | None = None,
    format: Callable[[T], str] = str,
    shown: Callable[[T], str] | None = None,
    help: str | None = None,
    where: Any = st,
    widget: str = "selectbox",
    stays: bool = False,
) -> T | None:
    """A choice among options, kept in the address as ``?name=``; None without options.

    Args:
        label: of the field.
        name: of the parameter, and key of the widget in the session.
        options: to choose from; any other value in the address is ignored.
        default: what is chosen at first; None: the first option.
        format: text of an option in the address, and in the field unless ``shown`` says another.
        shown: text of an option in the field, where the address keeps a name of the tables.
        help: tooltip.
        where: a column or container.
        widget: ``selectbox``, ``segmented_control`` (for a few short options) or ``radio``.
        stays: whether the choice is kept when the page changes; it then stands in every address, so that a copied link
            shows the same later, when the default is another.
    """
    if not options:
        return None
    by_text = {format(option): option for option in options}
    _follow(name, by_text, stays)
    if widget == "segmented_control" or default is not None:  # the former starts with nothing chosen
        st.session_state.setdefault(name, options[0] if default is None else default)
    chosen = getattr(where, widget)(
        label,
        list(options),
        key=name,
        format_func=shown or format,
        help=help,
        on_change=_note,
        args=(name, format),
        **({"required": True} if widget == "segmented_control" else {}),
    )
    if stays and name not in st.query_params:
        _note(name, format)
    return chosen


def spaced(name: str) -> str:
    """A name of the tables in words, for ``shown`` of ``choose``."""
    return name.replace("_", " ")


def typed(
    label: str, name: str, *, start: str = "", where: Any = st, widget: str = "text_input", **options: Any
) -> str:
    """A text field, kept in the address as ``?name=``.

    Args:
        label: of the field.
        name: of the parameter, and key of the widget in the session.
        start: initial text; not put into the address.
        where: a column or container.
        widget: ``text_input`` for a line, ``text_area`` for several.
        options: of the widget.
    """
    wanted = st.query_params.get(name, start)
    _follow(name, {wanted: wanted}, False)
    st.session_state.setdefault(name, wanted)
    return getattr(where, widget)(label, key=name, on_change=_note, args=(name, str), **options)


def switch(label: str, name: str, *, help: str | None = None, where: Any = st, stays: bool = False) -> bool:
    """A switch, off at first, kept in the address as ``?name=on``.

    Args:
        label: of the switch.
        name: of the parameter, and key of the widget in the session.
        help: tooltip.
        where: a column or container.
        stays: as in ``choose``.
    """
    _follow(name, {"on": True, "off": False}, stays)
    return bool(where.toggle(label, key=name, help=help, on_change=_note, args=(name, _on_or_off)))


def whole(text: str | None) -> int | None:
    """The whole number from 0 that a text in an address says; None for any other text, or for more digits than any table counts."""
    return int(text) if text is not None and _WHOLE.fullmatch(text.strip()) else None


def _on_or_off(value: bool) -> str:
    return "on" if value else "off"


def _follow(name: str, by_text: dict[str, Any], stays: bool) -> None:
    """Take over a value from the address if it has changed since the last run: by a link or the browser's buttons.

    Also if the widget is new to the page: streamlit forgets widgets that it has not drawn for a while.
    """
    wanted, seen = st.query_params.get(name), f"address of {name}"
    is_new = name not in st.session_state
    if (is_new or wanted != st.session_state.get(seen)) and not (stays and wanted is None):
        st.session_state.pop(name, None)
        if wanted in by_text:
            st.session_state[name] = by_text[wanted]
        st.session_state[seen] = wanted
    if name in st.session_state:
        kept = st.session_state.pop(name)
        if kept in by_text.values():
            st.session_state[name] = kept  # written again: else streamlit drops the value of another page's widget


def _note(name: str, format: Callable[[Any], str]) -> None:
    """Write the user's choice into the address."""
    st.query_params[name] = st.session_state[f"address of {name}"] = format(st.session_state[name])


def choose_collection(where: Any) -> str | None:
    """The collection that all pages show, the latest by default; ``where`` is the container of the field."""
    found = ask("select collection from collections order by created_at desc, collection")
    return choose("Collection", "collection", found["collection"].to_list(), where=where, stays=True)


def collection() -> str:
    """Key of the chosen collection. If there is none, the page stops and says how to make one."""
    chosen = st.session_state.get("collection")
    if chosen is None:
        st.info("The warehouse is empty: run `make run` or `ato run pipeline --profile demo` (some minutes).")
        st.stop()
    return chosen
