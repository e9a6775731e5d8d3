"""Residuals as blocks of tokens: sources that yield them, and consumers that share a pass."""

from typing import TYPE_CHECKING

from ato.first_use import imported_on_first_use

if TYPE_CHECKING:
    from ato.residuals.blocks import Consumer, ResidualBlock, ResidualSource, run_pass
    from ato.residuals.memory import MemorySource
    from ato.residuals.position_policies import Layer, SourceKey

__all__ = ["Consumer", "Layer", "MemorySource", "ResidualBlock", "ResidualSource", "SourceKey", "run_pass"]

__getattr__ = imported_on_first_use(
    __name__,
    {
        "Consumer": "blocks",
        "Layer": "position_policies",
        "MemorySource": "memory",
        "ResidualBlock": "blocks",
        "ResidualSource": "blocks",
        "SourceKey": "position_policies",
        "run_pass": "blocks",
    },
)
