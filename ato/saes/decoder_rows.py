"""What each feature adds to the stream: norms and directions of the rows of a decoder."""

from functools import cached_property

import torch


class DecoderRows:
    """Base of whatever has a decoder ``W_dec`` [d_sae, d_out], a row a feature."""

    W_dec: torch.Tensor

    @cached_property
    def decoder_norms(self) -> torch.Tensor:
        """[d_sae] norms of the decoder rows."""
        norms: torch.Tensor = self.W_dec.norm(dim=1)
        return norms

    @cached_property
    def decoder_directions(self) -> torch.Tensor:
        """[d_sae, d_out] decoder rows scaled to length 1; a row of zeros stays a row of zeros."""
        return self.W_dec / self.decoder_norms.clamp_min(torch.finfo(self.W_dec.dtype).tiny)[:, None]
