"""YAML of settings: no tags of Python's, each key once, and a bound on the values that aliases make."""

from typing import Any

import yaml

from ato.errors import SettingsError

MOST_VALUES = 100_000
"""Values of one text, with aliases written out."""


def read_yaml(text: str, *, where: object) -> Any:
    """The value of a YAML text.

    Raises:
        SettingsError: it is not valid, or more than settings need; with the line.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None or "\n" not in text.strip() else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error)
        raise SettingsError(f"not valid YAML: {' '.join(problem.split())}", where=f"{where}{line}") from None
    except (ValueError, RecursionError) as error:  # dates and numbers that do not exist, nesting without end
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SettingsError(f"not valid YAML: {problem}", where=where) from None


class _PlainLoader(yaml.SafeLoader):
    """YAML without tags of Python's, with aliases only as far as they stay small, and with each key once."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None and _size(node, {}) > MOST_VALUES:
            raise yaml.constructor.ConstructorError(None, None, f"more than {MOST_VALUES:,} values", node.start_mark)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.value in seen if isinstance(key, yaml.ScalarNode) else False:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def _size(node: Any, known: dict[int, int | None]) -> int:
    """Values of a YAML node with all aliases written out."""
    if id(node) not in known:
        known[id(node)] = None
        inner = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
        inner = [] if isinstance(node, yaml.ScalarNode) else inner
        known[id(node)] = 1 + sum(_size(part, known) for part in inner)
    if (size := known[id(node)]) is None:
        raise yaml.constructor.ConstructorError(None, None, "an alias contains itself", node.start_mark)
    return size
