"""Transcoders: sparse features that read one site and write another, as the MLP does (Dunefsky et al., 2024)."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from ato.errors import SAEError
from ato.models.sites import Hook, parse_hook
from ato.saes.architectures import Architecture, find_architecture
from ato.saes.autoencoder import ActiveFeatures
from ato.saes.decoder_rows import DecoderRows

TRANSCODER_ARCHITECTURES = ("standard", "topk", "jumprelu")
"""Gates that transcoders have here; BatchTopK ones are trained to ``jumprelu``."""
_SHAPES = {
    "W_enc": ("d_in", "d_sae"),
    "b_enc": ("d_sae",),
    "W_dec": ("d_sae", "d_out"),
    "b_dec": ("d_out",),
    "threshold": ("d_sae",),
    "W_skip": ("d_in", "d_out"),
}


@dataclass(frozen=True, eq=False)
class Transcoder(DecoderRows):
    """A transcoder that takes raw values x of the site it reads.

    ``a = gate(x W_enc + b_enc)``, with the gates of ``ato.saes.architectures``; the output is
    ``y = a W_dec + b_dec``, and ``+ x W_skip`` where there is a skip connection (Paulo et al., 2025, arXiv
    2501.18823). A feature is *active* on a token where its activation is positive.

    Raises:
        SAEError: unknown architecture, or shapes that do not fit together.
    """

    architecture: str
    """One of ``TRANSCODER_ARCHITECTURES``."""
    W_enc: torch.Tensor
    """[d_in, d_sae] float32."""
    b_enc: torch.Tensor
    """[d_sae] float32."""
    W_dec: torch.Tensor
    """[d_sae, d_out] float32."""
    b_dec: torch.Tensor
    """[d_out] float32."""
    W_skip: torch.Tensor | None = None
    """[d_in, d_out] float32; files have it transposed."""
    threshold: torch.Tensor | None = None
    """[d_sae] float32, of jumprelu."""
    k: int | None = None
    """Most features active per token, of topk."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What the file says of its origin, for example ``model_name``, ``hook_name`` and ``hook_name_out``."""

    def __post_init__(self) -> None:
        if self.architecture not in TRANSCODER_ARCHITECTURES:
            cure = f"use {', '.join(TRANSCODER_ARCHITECTURES)}"
            raise SAEError(f"a transcoder of architecture {self.architecture!r} is not supported", cure=cure)
        if self.W_enc.ndim != 2 or self.W_dec.ndim != 2:
            what = f"W_enc has {self.W_enc.ndim} and W_dec {self.W_dec.ndim} dimensions, expected two each"
            raise SAEError(what, cure="use a transcoder of one layer; cross-layer transcoders are not read")
        if (self.threshold is not None) != self.kind.has_threshold:
            what = "a threshold was given, which only jumprelu has" if self.threshold is not None else "no threshold"
            raise SAEError(
                what, where=f"transcoder of architecture {self.architecture}", cure="give what it was saved with"
            )
        sizes = {"d_in": self.d_in, "d_sae": self.d_sae, "d_out": self.d_out}
        for name, weight in self.weights.items():
            expected = [sizes[axis] for axis in _SHAPES[name]]
            if list(weight.shape) != expected:
                what = f"{name} is {list(weight.shape)}, expected {expected} beside W_enc {list(self.W_enc.shape)}"
                raise SAEError(what, cure="use the weights of one transcoder, none of them transposed")
        if self.kind.has_k and not (self.k and 0 < self.k <= self.d_sae):
            what = f"k = {self.k} is not between 1 and the {self.d_sae} features of this topk transcoder"
            raise SAEError(what, cure="give the k it was trained with")

    @property
    def kind(self) -> Architecture:
        """The gate."""
        return find_architecture(self.architecture)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights by name, those that it has."""
        found = {name: getattr(self, name) for name in _SHAPES}
        return {name: weight for name, weight in found.items() if weight is not None}

    @property
    def d_in(self) -> int:
        """Width of what it reads."""
        return self.W_enc.shape[0]

    @property
    def d_sae(self) -> int:
        """Number of features."""
        return self.W_enc.shape[1]

    @property
    def d_out(self) -> int:
        """Width of what it writes."""
        return self.W_dec.shape[1]

    @property
    def hook_in(self) -> Hook | None:
        """What it reads, from ``hook_name`` of its metadata; None if that is unknown or no site of ours."""
        return parse_hook(str(self.metadata.get("hook_name") or ""))

    @property
    def hook_out(self) -> Hook | None:
        """What it writes, from ``hook_name_out`` of its metadata; None if that is unknown or no site of ours."""
        return parse_hook(str(self.metadata.get("hook_name_out") or ""))

    def check_sites(self, site_in: str, site_out: str, layer: int | None = None) -> None:
        """Refuse other sites or another layer than those it was trained on, as far as its metadata say.

        Raises:
            SAEError: its metadata name other ones.
        """
        for key, site in (("hook_name", site_in), ("hook_name_out", site_out)):
            name = self.metadata.get(key)
            if not name:
                continue
            hook = parse_hook(str(name))
            where = f"{site} of layer {layer}" if layer is not None else site
            if hook is None or hook.site != site or layer not in (None, hook.layer):
                cure = "use it there"
                if str(name).endswith("ln2.hook_normalized"):
                    cure = "fold the norm's gain and bias into it with ato.saes.transcoder.with_norm"
                raise SAEError(f"the transcoder has {key} = {name}, but is used at {where}", cure=cure)

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the architecture and the bytes of all weights, first 16 hex digits."""
        digest = hashlib.sha256(f"transcoder {self.architecture} {self.k}".encode())
        for name, weight in self.weights.items():
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def pre_activations(self, x: torch.Tensor) -> torch.Tensor:
        """``x W_enc + b_enc`` [n, d_sae] of x [n, d_in], before the gate.

        Raises:
            SAEError: x is not d_in wide.
        """
        if x.shape[-1] != self.d_in:
            what = f"values have width {x.shape[-1]}, the transcoder expects {self.d_in}"
            raise SAEError(what, cure="use a transcoder of this model")
        return torch.addmm(self.b_enc, x.to(self.W_enc), self.W_enc)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Activations [n, d_sae] of x [n, d_in]."""
        return self.kind.gate(self.pre_activations(x), self.threshold, self.k)

    def active(self, x: torch.Tensor) -> ActiveFeatures:
        """The positive entries of ``encode(x)`` as triplets."""
        return ActiveFeatures(len(x), *self.kind.active(self.pre_activations(x), self.threshold, self.k))

    def decode(self, activations: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Output [n, d_out] of activations [n, d_sae]; x [n, d_in] goes through the skip connection, if there is one."""
        return self._skipped(torch.addmm(self.b_dec, activations.to(self.W_dec), self.W_dec), x)

    def decode_active(self, active: ActiveFeatures, x: torch.Tensor) -> torch.Tensor:
        """The same from triplets: only the decoder rows of active features are read."""
        return self._skipped(active.weighted_sum(self.W_dec) + self.b_dec, x)

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        """What it writes [n, d_out] where it reads x [n, d_in]."""
        return self.decode_active(self.active(x), x)

    def _skipped(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return y if self.W_skip is None else torch.addmm(y, x.to(self.W_skip), self.W_skip)

    def to(self, device: str | torch.device) -> "Transcoder":
        """The same transcoder on another device."""
        moved: dict[str, Any] = {name: weight.to(device) for name, weight in self.weights.items()}
        return replace(self, **moved)


def with_norm(transcoder: Transcoder, gain: torch.Tensor, bias: torch.Tensor | None = None) -> Transcoder:
    """A transcoder of ``ln2.hook_normalized`` as one of ``mlp_in``, which is that times the gain, plus the bias.

    TransformerLens reads the norm before its gain and bias, where Gemma Scope's and others' transcoders were trained;
    from ``u = (x - bias) / gain`` all of their input weights follow.

    Args:
        transcoder: one whose metadata have the hook ``blocks.L.ln2.hook_normalized``.
        gain: [d_in] that the norm multiplies by (of Gemma 1 plus its weight).
        bias: [d_in] that it adds; None of an RMSNorm.

    Raises:
        SAEError: another hook, another width, or a gain of 0.
    """
    name = str(transcoder.metadata.get("hook_name") or "")
    if not name.endswith("ln2.hook_normalized"):
        raise SAEError(
            f"the transcoder reads {name or 'an unknown hook'}, not ln2.hook_normalized", cure="use it as it is"
        )
    if gain.shape != (transcoder.d_in,) or bool((gain == 0).any()):
        what = f"a gain of shape {list(gain.shape)}, {int((gain == 0).sum())} of it 0, cannot be taken out of x"
        raise SAEError(what, cure=f"give the {transcoder.d_in} gains of the norm before the MLP")
    gain = gain.to(transcoder.W_enc)
    shift = torch.zeros_like(gain) if bias is None else bias.to(gain)
    W_enc = transcoder.W_enc / gain[:, None]
    changed: dict[str, Any] = {"W_enc": W_enc, "b_enc": transcoder.b_enc - shift @ W_enc}
    if transcoder.W_skip is not None:
        changed["W_skip"] = transcoder.W_skip / gain[:, None]
        changed["b_dec"] = transcoder.b_dec - shift @ changed["W_skip"]
    hook_name = name.replace("ln2.hook_normalized", "mlp.hook_in")
    return replace(transcoder, **changed, metadata={**transcoder.metadata, "hook_name": hook_name, "norm_folded": True})
