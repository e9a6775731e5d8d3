"""Statements with values filled in as literals, so that they run anywhere."""

import re


def filled(sql: str, **values: object) -> str:
    """SQL with its ``$name`` placeholders replaced by literals, so that it runs anywhere.

    >>> filled("select * from operators where collection = $collection and leap = $leap", collection="it's", leap=2)
    "select * from operators where collection = 'it''s' and leap = 2"
    """
    return re.sub(r"\$(\w+)", lambda found: literal(values[found[1]]), sql)


def literal(value: object) -> str:
    """A value as an SQL literal; a list or tuple as one in parentheses."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(literal, value)) or 'null'})"
    return "'" + str(value).replace("'", "''") + "'"
