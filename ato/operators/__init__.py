"""Transport operators: what they are, how they are fitted, and their spectra."""

from typing import TYPE_CHECKING

from ato.first_use import imported_on_first_use

if TYPE_CHECKING:
    from ato.operators.operator import TransportOperator, load_operator

__all__ = ["TransportOperator", "load_operator"]

__getattr__ = imported_on_first_use(__name__, {"TransportOperator": "operator", "load_operator": "operator"})
