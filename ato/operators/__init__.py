"""Transport operators: what they are, how they are fitted, and their spectra."""

from ato.operators.operator import TransportOperator, load_operator

__all__ = ["TransportOperator", "load_operator"]
