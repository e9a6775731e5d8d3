"""Residuals as blocks of tokens: sources that yield them, and consumers that share a pass."""

from ato.residuals.blocks import Consumer, ResidualBlock, ResidualSource, run_pass
from ato.residuals.memory import MemorySource
from ato.residuals.position_policies import Layer, SourceKey

__all__ = ["Consumer", "Layer", "MemorySource", "ResidualBlock", "ResidualSource", "SourceKey", "run_pass"]
