"""One encoding of each block for all statistics of an SAE."""

from collections.abc import Sequence
from typing import Protocol

from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures
from ato.saes.feature_source import FeatureSource


class SAEConsumer(Protocol):
    """A statistic of one SAE over a stream of blocks."""

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> object:
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        ...


class SharedEncoding:
    """A consumer that encodes each block once for all statistics of one SAE.

    Args:
        sae: the SAE, or what else has features.
        layer: layer whose residuals it reads.
        consumers: statistics of that SAE and layer.
    """

    def __init__(self, sae: FeatureSource, layer: int, consumers: Sequence[SAEConsumer]):
        self._sae, self._layer, self._consumers = sae, layer, tuple(consumers)

    def update(self, block: ResidualBlock) -> "SharedEncoding":
        """Encode the block and hand it to every statistic."""
        active = self._sae.active(block.residuals[self._layer])
        for consumer in self._consumers:
            consumer.update(block, active)
        return self
