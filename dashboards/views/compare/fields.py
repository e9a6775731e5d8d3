"""Which two things the page ``compare`` is about: fields to choose them, kept in its address as ``left`` and ``right``."""

import streamlit as st

from ato.errors import AtoError
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from warehouse.catalog.compared.kinds import KINDS
from warehouse.catalog.compared.sides import Side, kind_of, pair
from warehouse.catalog.compared.statements import SIDES

KIND = "compared kind"
HELP = "Search by typing, or type any name, such as `{}`; of another collection: `NAME@COLLECTION`."
NAMES = {kind.name: kind.plural[0].upper() + kind.plural[1:] for kind in KINDS.values()}


def chosen(collection: str) -> tuple[Side, Side] | None:
    """Both sides as the address names them, else the first two that there are; None, with a word why, where there are none."""
    kind = kind_of(st.query_params.get("left", "")) or _first_kind(collection)
    offered = _offered(kind, collection)
    texts = {side: st.query_params.get(side, "").removeprefix(f"{kind}:") for side in SIDES}
    if not texts["left"] and offered:
        texts["left"] = next(iter(offered))
    if not texts["right"] and offered:
        texts["right"] = next((id_ for id_ in offered if id_ != texts["left"]), texts["left"])
    found, problem = None, None
    if texts["left"] and texts["right"]:
        found, problem = _resolved(kind, texts, collection)
    if found is not None:
        for name, side in zip(SIDES, found):
            texts[name] = side.address(collection).partition(":")[2]
            if st.query_params.get(name) != side.address(collection):
                st.query_params[name] = side.address(collection)
    _fields(kind, texts, offered)
    if problem is not None:
        st.warning(problem)
    elif found is None:
        of = KINDS[kind]
        st.info(
            f"No {of.plural} here yet: run `{of.command}`, or type two names of another collection: NAME@COLLECTION."
        )
    return found


def _resolved(kind: str, texts: dict[str, str], collection: str) -> tuple[tuple[Side, Side] | None, str | None]:
    """Both sides, or what is wrong with them."""
    left, right = (_address(kind, texts[side]) for side in SIDES)
    try:
        return pair(left, right, collection, lambda sql: ask(sql).to_dicts()), None
    except AtoError as error:
        return None, plain(error)


def _fields(kind: str, texts: dict[str, str], offered: dict[str, str]) -> None:
    places = st.columns([2, 4, 1, 4], vertical_alignment="bottom")
    st.session_state[KIND] = kind
    places[0].selectbox("Kind", list(NAMES), key=KIND, format_func=NAMES.__getitem__, on_change=_kind_changed)
    for side, place in zip(SIDES, (places[1], places[3])):
        text, key = texts[side], f"compared {side}"
        st.session_state[key] = text or None
        place.selectbox(
            side.capitalize(),
            list(offered) if not text or text in offered else [text, *offered],
            key=key,
            format_func=lambda id_: offered.get(id_, id_),
            accept_new_options=True,
            placeholder="Choose, or type a name",
            help=HELP.format(KINDS[kind].example),
            on_change=_side_changed,
            args=(side, kind),
        )
    swapped = {"left": _address(kind, texts["right"]), "right": _address(kind, texts["left"])}
    places[2].button(
        "Swap",
        icon=":material/swap_horiz:",
        on_click=st.query_params.update,
        args=(swapped,),
        disabled=not all(texts.values()),
    )


def _first_kind(collection: str) -> str:
    """The first kind of which there is anything in the collection."""
    return next((kind for kind in KINDS if _offered(kind, collection)), "collection")


def _offered(kind: str, collection: str) -> dict[str, str]:
    """Id -> what the list shows."""
    return dict(ask(filled(KINDS[kind].offered, collection=collection)).select("id", "shown").iter_rows())


def _address(kind: str, text: str) -> str:
    return text if kind_of(text) else f"{kind}:{text}"


def _kind_changed() -> None:
    """Start anew with another kind."""
    st.query_params["left"] = f"{st.session_state[KIND]}:"
    st.query_params.pop("right", None)


def _side_changed(side: str, kind: str) -> None:
    """Write a choice into the address."""
    st.query_params[side] = _address(kind, (st.session_state[f"compared {side}"] or "").strip())
