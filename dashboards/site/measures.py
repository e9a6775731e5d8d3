"""SQL for what a fixed chart can draw: the chosen measure under one name, and values clipped to the chart."""

from collections.abc import Collection, Mapping


def chosen_column(choice: str, columns: Mapping[str, str], end: str = "", without: Collection[str] = ()) -> str:
    """The column of the chosen measure, as an expression.

    Args:
        choice: name of the choice.
        columns: name of a measure, as the choice has it -> its column.
        end: of the column's name: ``_low`` and ``_high`` for the ends of its interval.
        without: columns that have no such end; NULL.

    >>> chosen_column("score", {"r2": "r2_test"}, "_low")
    "case $score when 'r2' then r2_test_low end"
    """
    cases = [f"when '{name}' then {column}{end}" for name, column in columns.items() if column not in without]
    return f"case ${choice} {' '.join(cases)} end"
