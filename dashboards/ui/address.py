"""What a page is about: choices that live in its address, so that a link shows another person the same."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

from dashboards.ui.reading import ask

T = TypeVar("T")


def choose(
    label: str,
    name: str,
    options: Sequence[T],
    *,
    format: Callable[[T], str] = str,
    help: str | None = None,
    where: Any = st,
    widget: str = "selectbox",
    stays: bool = False,
) -> T | None:
    """A choice among options, the first by default, kept in the address as ``?name=``; None if there are none.

    Args:
        label: what the field says.
        name: of the parameter, and key of the widget in the session.
        options: what there is to choose from; a value in the address that is none of them is ignored.
        format: an option as it is shown and as it stands in the address.
        help: shown on hovering.
        where: a column or container.
        widget: ``selectbox``, ``segmented_control`` (for a few short options) or ``radio``.
        stays: whether the choice outlives a change of the page.
    """
    if not options:
        return None
    by_text = {format(option): option for option in options}
    _follow(name, by_text, stays)
    if widget == "segmented_control":  # which, unlike the others, starts with nothing chosen
        st.session_state.setdefault(name, options[0])
    chosen = getattr(where, widget)(
        label,
        list(options),
        key=name,
        format_func=format,
        help=help,
        on_change=_note,
        args=(name, format),
        **({"required": True} if widget == "segmented_control" else {}),
    )
    if stays and chosen != options[0] and name not in st.query_params:
        _note(name, format)
    return chosen


def typed(
    label: str, name: str, *, start: str = "", where: Any = st, widget: str = "text_input", **options: Any
) -> str:
    """A text, kept in the address as ``?name=``.

    Args:
        label: what the field says.
        name: of the parameter, and key of the widget in the session.
        start: what stands there at first; not in the address.
        where: a column or container.
        widget: ``text_input`` for a line, ``text_area`` for several.
        options: of the widget.
    """
    wanted = st.query_params.get(name, start)
    _follow(name, {wanted: wanted}, False)
    st.session_state.setdefault(name, wanted)
    return getattr(where, widget)(label, key=name, on_change=_note, args=(name, str), **options)


def _follow(name: str, by_text: dict[str, Any], stays: bool) -> None:
    """Take over what the address says where it has changed since the last look: a link, or the browser's own buttons.

    Also where the widget is new to the page: streamlit forgets those that were not drawn for a while.
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
    """Write a choice of the user's into the address."""
    st.query_params[name] = st.session_state[f"address of {name}"] = format(st.session_state[name])


def choose_collection(where: Any) -> str | None:
    """The collection that all pages are about, the latest by default; the field stands in ``where``."""
    found = ask("select collection from collections order by created_at desc, collection")
    return choose("Collection", "collection", found["collection"].to_list(), where=where, stays=True)


def collection() -> str:
    """Key of the chosen collection; the page ends with a word on how to make one if there is none."""
    chosen = st.session_state.get("collection")
    if chosen is None:
        st.info("The warehouse is empty. `make run` (or `ato run pipeline --profile demo`) fills it in some minutes.")
        st.stop()
    return chosen
