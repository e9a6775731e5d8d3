"""Early stopping: an SAE is trained no longer when its FVU on held-out residuals no longer falls."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ato.saes.autoencoder import SparseAutoencoder


class EarlyStopping:
    """Keeps the weights of the lowest held-out FVU, and says when to stop.

    Args:
        patience: measurements in a row without a lower FVU after which to stop.
    """

    def __init__(self, patience: int):
        self._patience = patience
        self._lowest, self._waited = float("inf"), 0
        self.best: dict[str, Tensor] = {}
        """Weights of the lowest FVU; none before the first measurement."""

    def update(self, fvu: float, weights: Mapping[str, Tensor]) -> None:
        """Take a measurement into account."""
        if fvu < self._lowest:
            self._lowest, self._waited = fvu, 0
            self.best = {name: weight.detach().clone() for name, weight in weights.items()}
        else:
            self._waited += 1

    @property
    def stopped(self) -> bool:
        """Whether the training is over."""
        return self._waited >= self._patience

    def state(self) -> dict[str, Tensor]:
        """All of it, as named tensors."""
        counts = torch.tensor([self._lowest, self._waited], dtype=torch.float64)
        return {"stopping.counts": counts} | {f"stopping.best.{name}": weight for name, weight in self.best.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on where ``state`` was taken."""
        self._lowest, waited = state["stopping.counts"].tolist()
        self._waited = int(waited)
        prefix = "stopping.best."
        self.best = {name.removeprefix(prefix): kept for name, kept in state.items() if name.startswith(prefix)}


@torch.no_grad()
def variance_unexplained(sae: SparseAutoencoder, x: Tensor) -> float:
    """FVU of raw residuals x [m, d_in]: sum |x - x_hat|^2 / sum |x - mean x|^2."""
    errors = (sae.to(x.device).reconstruct(x) - x).double().square().sum()
    return float(errors / (x - x.mean(0)).double().square().sum().clamp_min(1e-12))
