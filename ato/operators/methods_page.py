"""The page docs/methods.md, written from the registry: ``python -m ato.operators.methods_page > docs/methods.md``."""

from ato.operators.methods import METHODS, OperatorMethod

HEAD = """# Operator methods

What `operators.methods` may name, in the order in which tables and charts show them. `ato.fit_operator` fits those that
need rows alone; the others are fitted within a study. Strengths are on scikit-learn's scale and chosen by
cross-validation: on the sum of squares as in `Ridge`, or on their mean as in `ElasticNet`. A baseline stands beside the
others in every table and is not registered.

| method | what it is | strengths | also set by | rows alone | baseline |
|---|---|---|---|---|---|
"""


def methods_page() -> str:
    """All methods with what they need, as Markdown."""
    return HEAD + "".join(_row(method) for method in METHODS.values())


def _row(method: OperatorMethod) -> str:
    own = ", ".join(f"`{name}`" for name in method.parameters if name not in ("alphas", "decoder"))
    cells = [
        f"`{method.name}`",
        method.summary,
        _strengths(method),
        own or "–",
        "yes" if method.fits_rows else "no",
        "yes" if method.baseline else "–",
    ]
    return f"| {' | '.join(cells)} |\n"


def _strengths(method: OperatorMethod) -> str:
    if method.strength_of is not None:
        return f"the one that `{method.strength_of}` chose"
    return "–" if method.penalised is None else f"on the {method.penalised} of squares"


if __name__ == "__main__":
    print(methods_page(), end="")
