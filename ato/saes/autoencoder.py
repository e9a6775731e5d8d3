"""Sparse autoencoders: one form for every architecture, dense and sparse activations, unit decoder rows."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch

from ato.errors import SAEError
from ato.models.sites import SITES, Hook, parse_hook
from ato.saes.architectures import Architecture, find_architecture
from ato.saes.architectures.architecture import ENCODER_AND_DECODER
from ato.saes.decoder_rows import DecoderRows
from ato.saes.places import Place, agreed_place, check_place, claim_of_hook


@dataclass(frozen=True)
class ActiveFeatures:
    """The positive activations of some tokens, as triplets ordered by token."""

    n: int
    """Number of tokens encoded, with or without an active feature."""
    token: torch.Tensor
    """[m] int64, row of the token, ascending."""
    feature: torch.Tensor
    """[m] int64, index of the feature."""
    value: torch.Tensor
    """[m] float32, activation, positive."""

    def weighted_sum(self, rows: torch.Tensor) -> torch.Tensor:
        """[n, d]: for each token the sum of its features' rows [features, d] times their activations."""
        offsets = torch.searchsorted(self.token, torch.arange(self.n, device=self.token.device))
        summed: torch.Tensor = torch.nn.functional.embedding_bag(
            self.feature, rows, offsets, mode="sum", per_sample_weights=self.value
        )
        return summed

    def split(self, n_parts: int) -> list[tuple[slice, "ActiveFeatures"]]:
        """Runs of about equally many tokens: the rows of each, and their features with tokens counted from its first."""
        if n_parts == 1:
            return [(slice(0, self.n), self)]
        cuts = [self.n * part // n_parts for part in range(n_parts + 1)]
        bounds = torch.searchsorted(self.token, torch.tensor(cuts, device=self.token.device)).tolist()
        return [
            (
                slice(*rows),
                ActiveFeatures(
                    rows[1] - rows[0],
                    self.token[first:last] - rows[0],
                    self.feature[first:last],
                    self.value[first:last],
                ),
            )
            for rows, (first, last) in zip(pairwise(cuts), pairwise(bounds), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class SparseAutoencoder(DecoderRows):
    """A sparse autoencoder that takes raw residuals.

    ``pre = (x - b_dec) W_enc + b_enc`` (without ``b_dec`` where ``apply_b_dec_to_input`` is false); the gate of its
    architecture makes activations ``a`` of it, see ``ato.saes.architectures``; the reconstruction is
    ``a W_dec + b_dec``. A feature is *active* on a token where its activation is positive: the SAE's own encoder
    decides, thresholds included.

    Raises:
        SAEError: unknown architecture, or shapes that do not fit together.
    """

    architecture: str
    """One of ``ato.saes.ARCHITECTURES``."""
    W_enc: torch.Tensor
    """[d_in, d_sae] float32."""
    b_enc: torch.Tensor
    """[d_sae] float32."""
    W_dec: torch.Tensor
    """[d_sae, d_in] float32."""
    b_dec: torch.Tensor
    """[d_in] float32."""
    threshold: torch.Tensor | None = None
    """[d_sae] float32, for architectures that have thresholds."""
    k: int | None = None
    """Most features active per token, for architectures that have such a limit."""
    apply_b_dec_to_input: bool = True
    scaling: float = 1.0
    """Factor by which the residuals were multiplied in training; it is folded into the weights, kept as a record."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What the file says about its origin, for example ``neuronpedia_id``, ``model_name`` and ``hook_name``."""

    def __post_init__(self) -> None:
        kind = self.kind
        if self.W_enc.ndim != 2:
            raise SAEError(
                f"W_enc has {self.W_enc.ndim} dimensions, expected [d_in, d_sae]",
                cure="use an SAE of one layer; crosscoders and cross-layer transcoders are not read",
            )
        d_in, d_sae = self.W_enc.shape
        expected = {"b_enc": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
        if kind.has_threshold:
            expected["threshold"] = (d_sae,)
        elif self.threshold is not None:
            raise SAEError(f"a threshold was given, which no {kind.name} SAE has", cure="use jumprelu, or leave it out")
        for name, shape in expected.items():
            found = getattr(self, name)
            if found is None or tuple(found.shape) != shape:
                has = "missing" if found is None else f"of shape {list(found.shape)}"
                raise SAEError(
                    f"{name} is {has}, expected {list(shape)} beside W_enc {[d_in, d_sae]}",
                    cure="use the weights of one SAE, none of them transposed",
                )
        if kind.has_k and not (self.k and 0 < self.k <= d_sae):
            raise SAEError(
                f"k = {self.k} is not between 1 and the {d_sae} features of this {kind.name} SAE",
                cure="give the k it was trained with",
            )

    @property
    def kind(self) -> Architecture:
        """What is special to its architecture."""
        return find_architecture(self.architecture)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights by name: ``W_enc``, ``b_enc``, ``W_dec``, ``b_dec`` and, where there is one, ``threshold``."""
        found = {name: getattr(self, name) for name in (*ENCODER_AND_DECODER, "threshold")}
        return {name: weight for name, weight in found.items() if weight is not None}

    @property
    def d_in(self) -> int:
        """Width of the residuals."""
        return self.W_enc.shape[0]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.W_enc.shape[1]

    @property
    def hook(self) -> Hook | None:
        """What it was trained on, from ``hook_name`` of its metadata; None if that is unknown."""
        return parse_hook(str(self.metadata.get("hook_name") or ""))

    @property
    def place(self) -> Place:
        """Where it reads, from ``hook_name`` of its metadata or the ``read_site`` and ``read_layer`` that a path named."""
        known = self.metadata
        if "read_from" in known:
            return Place(known.get("read_site"), known.get("read_layer"), str(known["read_from"]))
        return agreed_place(claim_of_hook(known.get("hook_name"), "hook_name"))

    @property
    def site(self) -> str | None:
        """``resid_post``, ``mlp_out``, ``attn_out`` or ``attn_z``; None if unknown."""
        return self.place.site if self.place.site in SITES else None

    @property
    def hook_layer(self) -> int | None:
        """Number of the block that it was trained on; None if unknown."""
        return self.place.layer

    @property
    def declared_l0(self) -> float | None:
        """Mean number of active features per token that its origin states, else its k; None if neither is known."""
        l0 = self.metadata.get("l0")
        return float(l0) if l0 else (None if self.k is None else float(self.k))

    def check_place(self, site: str | None = None, layer: int | None = None) -> None:
        """Refuse to read another place than the one it was trained on, as far as its metadata say.

        Args:
            site: where it is to read; None leaves the site unchecked.
            layer: block it is to read; None leaves the layer unchecked.

        Raises:
            SAEError: another site or layer, or a place that is not read here.
        """
        check_place(self.place, site, layer)

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the architecture and the bytes of all weights, first 16 hex digits."""
        digest = hashlib.sha256(f"{self.architecture} {self.k} {self.apply_b_dec_to_input}".encode())
        for weight in self.weights.values():
            digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        """``pre`` [n, d_sae] of residuals x [n, d_in], before the gate."""
        if x.shape[-1] != self.d_in:
            raise SAEError(
                f"residuals have width {x.shape[-1]}, the SAE expects {self.d_in}", cure="use an SAE of this model"
            )
        x = x.to(self.W_enc)
        return torch.addmm(self.b_enc, x - self.b_dec if self.apply_b_dec_to_input else x, self.W_enc)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Activations [n, d_sae] of raw residuals x [n, d_in].

        Raises:
            SAEError: x is not d_in wide.
        """
        return self.kind.gate(self.pre_activations(x), self.threshold, self.k)

    def active(self, x: torch.Tensor) -> ActiveFeatures:
        """The positive entries of ``encode(x)`` as triplets."""
        return ActiveFeatures(len(x), *self.kind.active(self.pre_activations(x), self.threshold, self.k))

    def decode(self, activations: torch.Tensor) -> torch.Tensor:
        """Reconstruction [n, d_in] of activations [n, d_sae]."""
        return torch.addmm(self.b_dec, activations.to(self.W_dec), self.W_dec)

    def decode_active(self, active: ActiveFeatures) -> torch.Tensor:
        """Reconstruction [n, d_in] from triplets: only the decoder rows of active features are read."""
        return active.weighted_sum(self.W_dec) + self.b_dec

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """``decode(encode(x))`` [n, d_in], by way of the active features only."""
        return self.decode_active(self.active(x))

    def to(self, device: str | torch.device) -> "SparseAutoencoder":
        """The same SAE on another device."""
        moved: dict[str, Any] = {name: weight.to(device) for name, weight in self.weights.items()}
        return replace(self, **moved)
