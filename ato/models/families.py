"""Where the parts of a causal language model are: body, blocks, final norm, head, for each supported family."""

from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from ato.errors import ModelError


@dataclass(frozen=True)
class Layout:
    """Attribute paths of a family's parts; blocks and final norm are named from the body, the rest from a block."""

    body: str
    blocks: str
    final_norm: str
    attention: str
    """Gives its output and its weights."""
    projection: str
    """The attention's output projection."""
    attn_out: str
    """Gives what attention adds to the stream."""
    mlp_out: str
    """Gives what the MLP adds to the stream."""
    mlp_projection: str
    """The MLP's output projection."""
    embeddings: tuple[str, ...] = ("embed_tokens",)
    """What makes the stream before the first block, as a sum; named from the body."""


_LLAMA = Layout("model", "layers", "norm", "self_attn", "self_attn.o_proj", "self_attn", "mlp", "mlp.down_proj")
# Gemma 2 and 3 normalise what attention and MLP give before they add it.
_GEMMA = replace(_LLAMA, attn_out="post_attention_layernorm", mlp_out="post_feedforward_layernorm")

FAMILIES: dict[str, Layout] = {
    "gpt2": Layout("transformer", "h", "ln_f", "attn", "attn.c_proj", "attn", "mlp", "mlp.c_proj", ("wte", "wpe")),
    "gpt_neox": Layout(
        "gpt_neox",
        "layers",
        "final_layer_norm",
        "attention",
        "attention.dense",
        "attention",
        "mlp",
        "mlp.dense_4h_to_h",
        ("embed_in",),
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gemma3": replace(_GEMMA, body="model.language_model"),
}
"""Model type, as in config.json, -> layout. Pythia is ``gpt_neox``; SmolLM2 is ``llama``."""


@dataclass(frozen=True)
class ModelParts:
    """The parts of a loaded model that a forward pass is made of."""

    body: nn.Module
    """Token ids -> hidden state after the final norm."""
    blocks: nn.ModuleList
    final_norm: nn.Module
    head: nn.Module
    """Hidden state -> logits, before any soft cap."""
    logit_softcap: float | None
    """Gemma 2 squashes its logits into (-cap, cap)."""
    layout: Layout | None = None

    def submodule(self, layer: int, part: str) -> nn.Module:
        """A part of a block, by its name in the layout: ``attention``, ``projection``, ``attn_out``, ``mlp_out`` ...

        Raises:
            ModelError: this model's blocks have no such part.
        """
        try:
            module: nn.Module = attrgetter(getattr(self.layout, part))(self.blocks[layer])
        except AttributeError:
            where = f"{part} of block {layer}, {type(self.blocks[layer]).__name__}"
            cure = f"use a model of type {', '.join(FAMILIES)}"
            raise ModelError("unknown block structure", where=where, cure=cure) from None
        return module

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Next-token logits [..., vocabulary] of hidden states [..., d] that are behind the final norm."""
        logits = self.head(hidden)
        if self.logit_softcap:
            logits = torch.tanh(logits / self.logit_softcap) * self.logit_softcap
        return logits


def find_parts(module: nn.Module) -> ModelParts:
    """Find the parts of a causal language model.

    A family that is not in ``FAMILIES`` is tried with the same layouts; the self-check on load decides.

    Raises:
        ModelError: no layout fits.
    """
    config: Any = module.config
    model_type = str(config.model_type)
    layouts = [FAMILIES[model_type]] if model_type in FAMILIES else sorted(set(FAMILIES.values()), key=str)
    found = []
    for layout in layouts:
        try:
            body = attrgetter(layout.body)(module)
            blocks, final_norm = getattr(body, layout.blocks), getattr(body, layout.final_norm)
            head = module.get_output_embeddings()  # type: ignore[operator]
        except AttributeError:
            continue
        if isinstance(blocks, nn.ModuleList) and head is not None:
            softcap = getattr(config.get_text_config(), "final_logit_softcapping", None)
            found.append(ModelParts(body, blocks, final_norm, head, softcap, layout))
    if found:
        # Several layouts share body and blocks: the one whose blocks it fits names the sites inside them.
        return max(found, key=_n_submodules)
    raise ModelError(
        f"unsupported model type {model_type}",
        cure=f"use a model of type {', '.join(FAMILIES)}, or of the same structure",
    )


def _n_submodules(parts: ModelParts) -> int:
    """How many of the parts inside blocks are there."""
    count = 0
    for part in ("attention", "projection", "attn_out", "mlp_out"):
        with suppress(ModelError):
            parts.submodule(0, part)
            count += 1
    return count


def check_config(config: dict[str, Any], name: str, trust_remote_code: bool) -> None:
    """Refuse a model that cannot be read by its config.json, before its weights, or its code, are loaded.

    Raises:
        ModelError: an encoder-decoder model, or one with code of its own that is not trusted.
    """
    if config.get("is_encoder_decoder"):
        cure = "use a decoder-only model such as GPT-2, Pythia, Llama, Qwen or Gemma"
        raise ModelError(f"{config.get('model_type')} is an encoder-decoder model", where=name, cure=cure)
    if config.get("auto_map") and config.get("model_type") not in FAMILIES and not trust_remote_code:
        cure = "read its code, then set model.trust_remote_code=true"
        raise ModelError("the model needs custom Python code", where=name, cure=cure)
