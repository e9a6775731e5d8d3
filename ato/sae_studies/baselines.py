"""What an SAE must beat at equal L0: principal components, random directions and the residual's own basis, as SAEs.

They are plain SAEs of architecture ``topk`` whose encoder is the transpose of their decoder, so that every metric
judges them by the code that judges trained ones. A basis of signed directions, ``W_dec = [V; -V]``, keeps the k largest
|components| of each token.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from ato.errors import DataError, InputError, MismatchError, NonFiniteError
from ato.residuals.blocks import ResidualBlock
from ato.residuals.position_policies import Layer
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.transcoder import Transcoder

BASELINES = {
    "pca": "the k largest principal components of each token",
    "random": "a dictionary of random unit directions with the same encoder rule",
    "basis": "the k largest coordinates of each token about the mean",
}
"""Name -> what it is, beside SAEs."""
LINEAR = "linear"
"""The baseline beside transcoders: the least-squares linear map of what they read to what they write, without features."""


class ResidualCovariance:
    """Mean and covariance of one layer's residuals, streamed in d^2 float64 numbers.

    Args:
        layer: whose residuals.
    """

    def __init__(self, layer: Layer):
        self._layer, self.n = layer, 0
        self._pilot, self._sum, self._products = (torch.empty(0) for _ in range(3))
        """[d], the mean of the first rows, about which products do not cancel; [d] and [d, d] sums about it."""

    def update(self, block: ResidualBlock) -> "ResidualCovariance":
        """Take a block into account."""
        x = block.residuals[self._layer].double()
        if not len(x):
            return self
        if not self.n:
            self._pilot = x.mean(0)
            self._sum, self._products = torch.zeros_like(self._pilot), x.new_zeros(x.shape[1], x.shape[1])
        x = x - self._pilot
        self.n += len(x)
        self._sum += x.sum(0)
        self._products.addmm_(x.T, x)
        return self

    def __add__(self, other: "ResidualCovariance") -> "ResidualCovariance":
        """Moments of both streams.

        Raises:
            MismatchError: they are of different layers.
        """
        if self._layer != other._layer:
            raise MismatchError("covariances of different layers cannot be added", cure="add those of one layer")
        total = ResidualCovariance(self._layer)
        parts = [part for part in (self, other) if part.n]
        if not parts:
            return total
        total._pilot, total.n = parts[0]._pilot, sum(part.n for part in parts)
        moved = [part._about(parts[0]._pilot) for part in parts]
        total._sum = torch.stack([sums for sums, _ in moved]).sum(0)
        total._products = torch.stack([products for _, products in moved]).sum(0)
        return total

    def _about(self, pilot: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum and products about another point."""
        shift = self._pilot - pilot
        cross = torch.outer(self._sum, shift)
        return self._sum + self.n * shift, self._products + cross + cross.T + self.n * torch.outer(shift, shift)

    def mean(self) -> np.ndarray:
        """[d] float64.

        Raises:
            DataError: no token was seen.
        """
        if not self.n:
            raise DataError("no token was seen", cure="choose a split that is not empty")
        mean: np.ndarray = (self._pilot + self._sum / self.n).cpu().numpy()
        return mean

    def covariance(self) -> np.ndarray:
        """[d, d] float64, n in the denominator. Raises as ``mean``."""
        self.mean()
        offset = self._sum / self.n
        covariance: np.ndarray = (self._products / self.n - torch.outer(offset, offset)).cpu().numpy()
        return covariance


@dataclass(frozen=True)
class _Directions:
    """Unit directions about a mean."""

    rows: np.ndarray
    """[m, d]."""
    mean: np.ndarray
    """[d]."""

    def sae(self, k: int, name: str, *, signed: bool) -> SparseAutoencoder:
        if not 0 < k <= len(self.rows):
            cure = "compare at a smaller L0" if signed else "choose a smaller k or more features"
            raise InputError(f"k = {k} is not between 1 and {len(self.rows)} directions", where=name, cure=cure)
        decoder = np.concatenate([self.rows, -self.rows]) if signed else self.rows
        W_dec = torch.from_numpy(np.ascontiguousarray(decoder, dtype=np.float32))
        b_dec = torch.from_numpy(np.asarray(self.mean, dtype=np.float32))
        zeros = torch.zeros(len(W_dec))
        return SparseAutoencoder(
            "topk", W_dec.T.contiguous(), zeros, W_dec, b_dec, k=k, metadata={"baseline": name, "l0": k}
        )


def pca_dictionary(mean: np.ndarray, covariance: np.ndarray, k: int) -> SparseAutoencoder:
    """All d principal directions, of which each token keeps the k with its largest |components|.

    With k = d the reconstruction is exact.

    Args:
        mean: [d] of train tokens.
        covariance: [d, d] of train tokens.
        k: components kept a token.

    Raises:
        InputError: shapes that do not fit, or k beyond d.
        NonFiniteError: NaN or infinity.
    """
    mean, covariance = _checked(mean), np.asarray(covariance, dtype=np.float64)
    if covariance.shape != (len(mean), len(mean)):
        raise InputError(f"covariance has shape {covariance.shape}", cure=f"pass [{len(mean)}, {len(mean)}]")
    if not np.isfinite(covariance).all():
        raise NonFiniteError("covariance is NaN or infinite", cure="leave those tokens out")
    vectors = np.linalg.eigh((covariance + covariance.T) / 2)[1].T[::-1]  # largest variance first
    # An eigenvector has no sign of its own: the largest entry is made positive, so that equal data give equal bytes.
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, None], 1)
    return _Directions(vectors * np.sign(largest), mean).sae(k, "pca", signed=True)


def random_dictionary(mean: np.ndarray, d_sae: int, k: int, seed: int) -> SparseAutoencoder:
    """d_sae independent directions, uniform on the sphere, of which each token keeps the k that it is longest along.

    The directions overlap, so that their sum is too long: see ``calibrated``.

    Args:
        mean: [d] of train tokens.
        d_sae: number of directions, as many as the SAE that it is compared with has features.
        k: directions kept a token.
        seed: of the directions.

    Raises:
        InputError: fewer than one direction, or k beyond d_sae.
        NonFiniteError: NaN or infinity.
    """
    mean = _checked(mean)
    if d_sae < 1:
        raise InputError(f"d_sae = {d_sae} is no number of directions", cure="choose at least 1")
    rows = np.random.default_rng(seed).standard_normal((d_sae, len(mean)))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return _Directions(rows, mean).sae(k, "random", signed=False)


def basis_dictionary(mean: np.ndarray, k: int) -> SparseAutoencoder:
    """The residual's own coordinates about the mean, of which each token keeps the k largest in size.

    Args:
        mean: [d] of train tokens.
        k: coordinates kept a token.

    Raises:
        InputError: k beyond d.
        NonFiniteError: NaN or infinity.
    """
    mean = _checked(mean)
    return _Directions(np.eye(len(mean)), mean).sae(k, "basis", signed=True)


def calibrated(sae: SparseAutoencoder, x: torch.Tensor) -> SparseAutoencoder:
    """The same dictionary with activations times the one factor that reconstructs best: the slope of x on x_hat.

    Directions that overlap add up to more than the token; uncorrected, such a baseline would be beaten for its length
    and not for its directions. Which features are active does not change.

    Args:
        sae: a baseline without encoder bias.
        x: [n, d] train tokens.

    Raises:
        InputError: the SAE has an encoder bias, so that a factor changes what is active.
        DataError: its reconstruction is the same on all tokens, or points the other way.
    """
    if bool(sae.b_enc.any()) or sae.kind.has_threshold:
        raise InputError("an SAE with an encoder bias or thresholds cannot be scaled", cure="calibrate baselines only")
    offset = (sae.reconstruct(x) - sae.b_dec).double()
    centred = x.to(sae.b_dec).double() - sae.b_dec.double()
    factor = float((offset * centred).sum() / offset.square().sum().clamp_min(torch.finfo(torch.float64).tiny))
    if not factor > 0:
        raise DataError("the reconstruction says nothing about the tokens", cure="pass train tokens of the same layer")
    return replace(sae, W_enc=sae.W_enc * factor)


def baseline_saes(
    moments: ResidualCovariance, l0: float, d_sae: int, seed: int = 0, sample: torch.Tensor | None = None
) -> dict[str, SparseAutoencoder]:
    """Every baseline at the L0 of an SAE, see ``BASELINES``; k is the nearest whole number from 1 to d.

    Args:
        moments: of train tokens.
        l0: mean number of active features per token of the SAE.
        d_sae: its number of features.
        seed: of the random directions.
        sample: [n, d] train tokens to calibrate the random dictionary on; None leaves it as it is.

    Raises:
        DataError: no train token was seen.
    """
    mean = moments.mean()
    k = int(np.clip(round(l0), 1, len(mean)))
    random = random_dictionary(mean, d_sae, min(k, d_sae), seed)
    return {
        "pca": pca_dictionary(mean, moments.covariance(), k),
        "random": random if sample is None else calibrated(random, sample),
        "basis": basis_dictionary(mean, k),
    }


def linear_transcoder(moments: ResidualCovariance, d_in: int) -> Transcoder:
    """The least-squares map of x to y as a transcoder: all of it is the skip connection, its one feature never fires.

    Args:
        moments: of pairs of train tokens, see ``ato.residuals.site_pairs``.
        d_in: width of x.

    Raises:
        DataError: no train token was seen.
    """
    mean, covariance = moments.mean(), moments.covariance()
    # Of the smallest norm where x does not vary in every direction.
    skip = np.linalg.lstsq(covariance[:d_in, :d_in], covariance[:d_in, d_in:], rcond=None)[0]
    bias = mean[d_in:] - mean[:d_in] @ skip
    return Transcoder(
        "standard",
        W_enc=torch.zeros(d_in, 1),
        b_enc=-torch.ones(1),
        W_dec=torch.zeros(1, len(bias)),
        b_dec=torch.from_numpy(bias.astype(np.float32)),
        W_skip=torch.from_numpy(skip.astype(np.float32)),
        metadata={"baseline": LINEAR},
    )


def _checked(mean: np.ndarray) -> np.ndarray:
    mean = np.asarray(mean, dtype=np.float64)
    if mean.ndim != 1 or not len(mean):
        raise InputError(f"the mean has shape {mean.shape}", cure="pass [d]")
    if not np.isfinite(mean).all():
        raise NonFiniteError("the mean is NaN or infinite", cure="leave those tokens out")
    return mean
