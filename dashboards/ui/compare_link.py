"""Links to the page that compares any two things, with one or both of them already chosen."""

from collections.abc import Sequence

from dashboards.ui.navigation import go, link


def compare_with(kind: str, id_: object) -> None:
    """A link to the comparison of a thing of the current collection with another one, to be chosen there.

    Args:
        kind: ``feature``, ``operator``, ``sae``, ``collection``, ``entity`` or ``graph``.
        id_: as in addresses, see ``warehouse.catalog.compared.kinds``.
    """
    link("Compare with …", "compare", left=f"{kind}:{id_}")


def compare_two(kind: str, ids: Sequence[object]) -> None:
    """Go to the comparison of two things that were ticked; stay where there are fewer."""
    if len(ids) > 1:
        go("compare", left=f"{kind}:{ids[0]}", right=f"{kind}:{ids[1]}")
