"""Residuals as blocks of tokens: sources that yield them, and consumers that share a pass."""

from ato.residuals.blocks import Consumer, ResidualBlock, ResidualSource, run_pass
from ato.residuals.memory import MemorySource

__all__ = ["Consumer", "MemorySource", "ResidualBlock", "ResidualSource", "run_pass"]
