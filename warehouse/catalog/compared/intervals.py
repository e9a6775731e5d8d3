"""Intervals of differences in SQL: of a mean of pairs, and of two estimates that have no document in common.

Both are 95 % intervals. What is paired and what is not is said beside each in the column ``paired_by``.
"""

MIN_UNITS = 5
"""Pairs below which no interval is given, as in ``ato.numerics.intervals``."""
_Z = 1.959963984540054
_TERMS = (
    (_Z**3 + _Z) / 4,
    (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96,
    (3 * _Z**7 + 19 * _Z**5 + 17 * _Z**3 - 15 * _Z) / 384,
    (79 * _Z**9 + 776 * _Z**7 + 1482 * _Z**5 - 1920 * _Z**3 - 945 * _Z) / 92160,
)


def t_quantile(freedom: str) -> str:
    """Quantile 0.975 of Student's t, by the expansion in 1 / degrees of freedom (Abramowitz and Stegun, 26.7.5).

    Within 0.1 % of the quantile from 4 degrees of freedom on, which ``MIN_UNITS`` pairs have.

    Args:
        freedom: SQL of the degrees of freedom.
    """
    terms = " + ".join(f"{term!r} / ({freedom}) ** {power}" for power, term in enumerate(_TERMS, 1))
    return f"({_Z!r} + {terms})"


def independent_low(left: str, right: str) -> str:
    """Lower limit of ``right - left`` from the intervals of both, which must be independent (Zou and Donner, 2008)."""
    return (
        f"{right}_value - {left}_value - sqrt(({right}_value - {right}_low) ** 2 + ({left}_high - {left}_value) ** 2)"
    )


def independent_high(left: str, right: str) -> str:
    """The upper limit; see ``independent_low``."""
    return (
        f"{right}_value - {left}_value + sqrt(({right}_high - {right}_value) ** 2 + ({left}_value - {left}_low) ** 2)"
    )
