"""Links to the page that compares any two things, with one of them already chosen."""

from dashboards.ui.navigation import link


def compare_with(kind: str, id_: object) -> None:
    """A link to the comparison of a thing of the current collection with another one, to be chosen there.

    Args:
        kind: ``feature``, ``operator``, ``sae``, ``collection``, ``entity`` or ``graph``.
        id_: as in addresses, see ``warehouse.catalog.compared.sides``.
    """
    link("Compare with ...", "compare", left=f"{kind}:{id_}")
