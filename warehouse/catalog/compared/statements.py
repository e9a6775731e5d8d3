"""What every comparison shares: statements about both sides, and the table of their differences.

A statement about one side names its values ``$collection``, ``$sae`` and so on; ``both`` makes of it one about the two,
with ``$left_collection`` and ``$right_collection``. The table of differences has a row for each quantity, with these columns:

``quantity, unit``
    What is measured.
``left_value, left_low, left_high, left_n, right_value, right_low, right_high, right_n, n_of``
    Both values, each with its own 95 % interval and what it rests on.
``difference, difference_low, difference_high, n_paired, paired_by``
    right less left with its 95 % interval. ``paired_by``: what pairs the two (document, feature, attribute), or
    ``no document in common``, where the two are independent and the limits come from both intervals. NULL: only two separate
    intervals are known, which do not give one of the difference, since both rest on the same documents.
"""

import re
from dataclasses import dataclass

from warehouse.catalog.compared.intervals import MIN_UNITS, independent_high, independent_low, t_quantile

SIDES = ("left", "right")


@dataclass(frozen=True)
class Part:
    """One table or chart of a comparison."""

    title: str
    sql: str
    """With ``$left_`` and ``$right_`` values to be filled in."""
    note: str = ""
    empty: str = "Nothing of both sides is stored yet."


def both(sql: str) -> str:
    """A select about one side as a select about the two, ``side`` first; it may not end with an order."""
    return "\nunion all\n".join(f"select '{side}' as side, * from (\n{of_side(sql, side)}\n)" for side in SIDES)


def of_side(sql: str, side: str) -> str:
    """A statement about one side with the values of ``left`` or ``right``."""
    return re.sub(r"\$(\w+)", lambda found: f"${side}_{found[1]}", sql)


def measures(base: str, rows: str) -> str:
    """A select of ``place, quantity, unit, value, low, high, n, n_of`` from one row, as ``differences`` takes it.

    Args:
        base: select of one row with what is measured.
        rows: a line a quantity: ``quantity | unit | value | low | high | n | n_of``, SQL from the third on; empty is NULL.
    """
    structs = []
    for place, line in enumerate(rows.strip().splitlines()):
        quantity, unit, value, low, high, n, n_of = (cell.strip() for cell in line.split("|"))
        structs.append(
            f"{{'place': {place}, 'quantity': '{quantity}', 'unit': '{unit}', 'value': ({value})::double, "
            f"'low': ({low or 'null'})::double, 'high': ({high or 'null'})::double, 'n': ({n or 'null'})::bigint, 'n_of': '{n_of}'}}"
        )
    listed = ",\n".join(structs)
    return f"select unnest([\n{listed}\n], recursive := true) from (\n{base}\n)"


def drawn(column: str, lowest: float) -> str:
    """A column with its interval as ``drawn``, ``drawn_low`` and ``drawn_high``: values below ``lowest`` stand there.

    >>> drawn("r2", -1)
    'if(r2 < -1, -1, r2) as drawn, if(r2_low < -1, -1, r2_low) as drawn_low, if(r2_high < -1, -1, r2_high) as drawn_high'
    """
    return ", ".join(f"{at_least(f'{column}{end}', lowest)} as drawn{end}" for end in ("", "_low", "_high"))


def at_least(column: str, lowest: float) -> str:
    """A column with ``lowest`` in place of values below it; NULL stays, which ``greatest`` would make a value.

    >>> at_least("r2", -1)
    'if(r2 < -1, -1, r2)'
    """
    return f"if({column} < {lowest:g}, {lowest:g}, {column})"


def mean_of_pairs(pairs: str, paired_by: str, quantity: str) -> str:
    """A select of ``quantity, difference, difference_low, difference_high, n_paired, paired_by`` from ``difference`` of pairs.

    The limits are those of Student's t on the differences; NULL below ``MIN_UNITS`` pairs.

    Args:
        pairs: select or name of a CTE with a column ``difference``.
        paired_by: what a row of it is.
        quantity: SQL of the quantity.
    """
    reach = f"{t_quantile('count(difference) - 1')} * stddev_samp(difference) / sqrt(count(difference))"
    reach = f"if(count(difference) >= {MIN_UNITS}, {reach}, null)"
    return f"""select {quantity} as quantity, avg(difference) as difference, avg(difference) - {reach} as difference_low,
    avg(difference) + {reach} as difference_high, count(difference) as n_paired, '{paired_by}' as paired_by
from {pairs}
group by all
having count(difference) > 0"""


NOTHING_PAIRED = """select null::varchar as quantity, null::double as difference, null::double as difference_low,
    null::double as difference_high, null::bigint as n_paired, null::varchar as paired_by where false"""


def differences(measured: str, paired: str = NOTHING_PAIRED, ctes: str = "") -> str:
    """The statement of the table of differences.

    Args:
        measured: select of ``side, place, quantity, unit, value, low, high, n, n_of``.
        paired: select of ``quantity, difference, difference_low, difference_high, n_paired, paired_by``.
        ctes: further CTEs that both may read, each followed by a comma.
    """
    values = ",\n    ".join(
        f"any_value({name}) filter (where side = '{side}') as {side}_{name}"
        for side in SIDES
        for name in ("value", "low", "high", "n")
    )
    limits = independent_low("s.left", "s.right"), independent_high("s.left", "s.right")
    return f"""with {ctes}measured as (
{measured}
),

paired as (
{paired}
),

-- NULL where the documents of one of them are not known.
in_common as (
    select max(n_documents) as n
    from common_documents
    where left_collection = $left_collection and right_collection = $right_collection
),

sides as (
    select quantity, min(place) as place, any_value(unit) as unit, any_value(nullif(n_of, '')) as n_of,
    {values}
    from measured
    group by quantity
)

select s.quantity, s.unit, s.left_value, s.left_low, s.left_high, s.left_n, s.right_value, s.right_low, s.right_high, s.right_n,
    s.n_of,
    coalesce(p.difference, s.right_value - s.left_value) as difference,
    if(p.quantity is null and c.n = 0, {limits[0]}, p.difference_low) as difference_low,
    if(p.quantity is null and c.n = 0, {limits[1]}, p.difference_high) as difference_high,
    p.n_paired,
    if(p.quantity is null and c.n = 0 and s.left_low is not null and s.right_low is not null, 'no document in common', p.paired_by)
        as paired_by
from sides as s
left join paired as p using (quantity)
cross join in_common as c
where s.left_value is not null or s.right_value is not null
order by s.place, s.quantity"""


DIFFERENCES_NOTE = (
    "Difference: right less left. Intervals are 95 %. Paired by: what the interval of the difference leaves out or draws in pairs; "
    "`no document in common`: the two sides are independent, and the limits come from both intervals (Zou and Donner, 2008). "
    "Without it only the two separate intervals are known: both sides rest on the same documents, and what these share is not stored. "
    "n: what each side rests on. –: not measured."
)
