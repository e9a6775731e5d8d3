"""Where the parts of a loaded causal language model are, by the register of families or by a general rule.

A family that is not in the register is read by the names that families commonly use; what is found is taken only if
the checks prove it: residuals, logits, restarts and causality on load (``ato.models.self_check``), each other site when it
is first asked for (``ato.models.additivity``).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from ato.errors import ModelError
from ato.models.layouts import FAMILIES, Layout, text_config

_BODIES = (
    "model.language_model",
    "language_model.model",
    "language_model",
    "model.text_model",
    "model.decoder",
    "model",
    "transformer",
    "backbone",
    "decoder",
)
"""Where text models are, those inside of models that read images or sound too first."""
_BLOCKS = ("layers", "h", "blocks", "block", "layer")
_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f", "final_norm", "norm_out", "ln_out")
_ATTENTION = ("self_attn", "attn", "attention", "self_attention", "norm_attn_norm.attn", "temporal_block")
_PROJECTIONS = ("o_proj", "out_proj", "c_proj", "dense", "attention.out_proj", "wo")
_MLP = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe", "mlp_block", "fc2")
_ATTENTION_NORMS = (
    "post_attention_layernorm",
    "post_self_attn_layernorm",
    "post_attention_norm",
    "post_attn_norm",
    "post_self_attn_norm",
    "post_norm1",
)
_MLP_NORMS = (
    "post_feedforward_layernorm",
    "post_mlp_layernorm",
    "post_feedforward_norm",
    "post_ffn_norm",
    "post_norm2",
)
_MLP_PROJECTIONS = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "w2", "fc_out")
_LOGIT_SCALES = ("logit_scale", "1/logits_scaling", "lm_head_multiplier", "output_multiplier")
_SOFT_CAPS = ("final_logit_softcapping", "logits_soft_cap")


@dataclass(frozen=True)
class ModelParts:
    """The parts of a loaded model that a forward pass is made of."""

    body: nn.Module
    """Token ids -> hidden state after the final norm."""
    blocks: nn.ModuleList
    final_norm: nn.Module
    """With what follows it, if anything, up to the head."""
    head: nn.Module
    """Hidden state -> logits, before any scale and soft cap."""
    logit_softcap: float | None
    """Gemma 2 squashes its logits into (-cap, cap)."""
    layout: Layout | None = None
    logit_scale: float = 1.0
    """Cohere and Granite multiply their logits by it, before any soft cap."""
    known: bool = False
    """Whether the layout is in the register; else it is a guess that the checks must prove."""
    cache: bool = False
    """Whether keys and values may be kept in transformers' plain cache."""

    def submodule(self, layer: int, part: str) -> nn.Module:
        """A part of a block, by its name in the layout: ``attention``, ``projection``, ``attn_out``, ``mlp_out`` ...

        Raises:
            ModelError: this model's blocks have no such part.
        """
        module = _first(self.blocks[layer], getattr(self.layout, part, ""))
        if module is None:
            where = f"{part} of block {layer}, {type(self.blocks[layer]).__name__}"
            cure = "use the site resid_post, or layers whose blocks have this part"
            raise ModelError("unknown block structure", where=where, cure=cure)
        return module

    def has(self, layer: int, part: str) -> bool:
        """Whether a block has a part of the layout."""
        return _first(self.blocks[layer], getattr(self.layout, part, "")) is not None

    def multiplier(self, layer: int) -> float:
        """What attention's and the MLP's outputs are multiplied by when they are added to the stream."""
        name = self.layout.multiplier if self.layout else ""
        return float(getattr(self.blocks[layer], name)) if name else 1.0

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Next-token logits [..., vocabulary] of hidden states [..., d] that are behind the final norm.

        State-space models keep the stream in float32 whatever their precision is: their heads read it in their own.
        """
        logits = self.head(hidden.to(self.head.weight.dtype))  # type: ignore[arg-type]
        if self.logit_scale != 1:
            logits = logits * self.logit_scale
        if self.logit_softcap:
            logits = torch.tanh(logits / self.logit_softcap) * self.logit_softcap
        return logits

    def unembedding(self) -> torch.Tensor:
        """[vocabulary, d_model]: the logits, but for the final norm and a soft cap, are the product with a residual."""
        weight: torch.Tensor = self.head.weight  # type: ignore[assignment]
        behind = self.final_norm[-1] if isinstance(self.final_norm, nn.Sequential) else self.final_norm
        with torch.no_grad():
            if isinstance(behind, nn.Linear):
                weight = weight @ behind.weight.to(weight.dtype)
            return weight if self.logit_scale == 1 else weight * self.logit_scale


def find_parts(module: nn.Module) -> ModelParts:
    """Find the parts of a causal language model; of one that reads images too, those of its text model.

    Raises:
        ModelError: no layout fits.
    """
    text = text_config(module.config)
    kind = str(getattr(text, "model_type", ""))
    known = kind in FAMILIES
    head = module.get_output_embeddings()  # type: ignore[operator]
    layouts = [FAMILIES[kind]] if known else [Layout("", blocks, norm) for blocks in _BLOCKS for norm in _FINAL_NORMS]
    for body in _bodies(module, FAMILIES[kind].body if known else ""):
        for layout in layouts:
            blocks = getattr(body, layout.blocks, None)
            if not isinstance(blocks, nn.ModuleList) or not len(blocks) or head is None:
                continue
            if not hasattr(body, layout.final_norm) or len(blocks) != getattr(text, "num_hidden_layers", len(blocks)):
                continue
            after = [getattr(body, name, None) for name in (layout.final_norm, layout.behind_norm) if name]
            modules = [part for part in after if isinstance(part, nn.Module)]
            if not known and not modules:
                continue
            norm = modules[0] if len(modules) == 1 else nn.Sequential(*modules)
            softcap = next((cap for key in _SOFT_CAPS if (cap := getattr(text, key, None))), None)
            parts = ModelParts(body, blocks, norm, head, softcap, layout, known=known)
            if known:
                # Blocks that use the keys and values of others write none of their own into the cache.
                cache = layout.cache and not getattr(text, "num_kv_shared_layers", 0)
                return replace(parts, logit_scale=scale_of(text, layout.logits), cache=cache)
            return replace(parts, layout=next(guessed_layouts(parts)))
    raise ModelError(
        f"unsupported model type {kind or type(module).__name__}",
        cure=f"use a model of type {', '.join(FAMILIES)}, or of the same structure",
    )


def guessed_layouts(parts: ModelParts) -> Iterator[Layout]:
    """Layouts that common names give for an unknown family's blocks, most likely first; at least one."""
    block, layout = parts.blocks[-1], parts.layout
    assert layout is not None
    attention = next((name for name in _ATTENTION if _first(block, name)), "")
    mlp = next((name for name in _MLP if _first(block, name)), "")
    projection = next((f"{attention}.{name}" for name in _PROJECTIONS if _first(block, f"{attention}.{name}")), "")
    down = next((f"{mlp}.{name}" for name in _MLP_PROJECTIONS if _first(block, f"{mlp}.{name}")), "")
    multiplier = "residual_multiplier" if hasattr(block, "residual_multiplier") else ""
    reads = "" if mlp == "fc2" else mlp  # which reads the hidden layer
    named = replace(
        layout,
        attention=attention,
        projection=projection,
        mlp=reads,
        mlp_projection=down,
        multiplier=multiplier,
        cache=False,
        embeddings=(),
    )
    if attention and mlp:
        attentions = [name for name in (*_ATTENTION_NORMS, projection) if name and _first(block, name)]
        mlps = [name for name in (*_MLP_NORMS, down) if name and _first(block, name)]
        for attn_out in [attention, *attentions]:
            for mlp_out in [mlp, *mlps]:
                yield replace(named, attn_out=attn_out, mlp_out=mlp_out)
    yield named


def scale_of(text: Any, key: str) -> float:
    """What logits are multiplied by, of a configuration, see ``Layout.logits``; 1 where it names no number."""
    value = getattr(text, key.removeprefix("1/"), None) if key else None
    if not isinstance(value, int | float) or not value:
        return 1.0
    return 1 / value if key.startswith("1/") else float(value)


def possible_scales(text: Any) -> list[float]:
    """Numbers other than 1 in a configuration that an unknown family may multiply its logits by."""
    return sorted({scale_of(text, key) for key in _LOGIT_SCALES} - {1.0})


def check_config(config: dict[str, Any], name: str, trust_remote_code: bool) -> None:
    """Refuse a model that cannot be read by its config.json, before its weights, or its code, are loaded.

    Raises:
        ModelError: an encoder-decoder model, or one with code of its own that is not trusted.
    """
    if config.get("is_encoder_decoder"):
        cure = "use a decoder-only model such as GPT-2, Pythia, Llama, Qwen or Gemma"
        raise ModelError(f"{config.get('model_type')} is an encoder-decoder model", where=name, cure=cure)
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    # Of model types that transformers knows, its own code is taken.
    if config.get("auto_map") and config.get("model_type") not in CONFIG_MAPPING_NAMES and not trust_remote_code:
        cure = "read its code, then set model.trust_remote_code=true"
        raise ModelError("the model needs custom Python code", where=name, cure=cure)


def _bodies(module: nn.Module, own: str) -> Iterator[nn.Module]:
    """Modules that may be the text model, most likely first."""
    paths = _BODIES if text_config(module.config) is not module.config else (own, *_BODIES)  # type: ignore[arg-type]
    for path in (*paths, own):
        body = _first(module, path)
        if body is not None:
            yield body
            if isinstance(inner := getattr(body, "decoder", None), nn.Module):
                yield inner
    for name in ("get_decoder", "base_model"):
        found = getattr(module, name, None)
        body = found() if callable(found) and not isinstance(found, nn.Module) else found
        if isinstance(body, nn.Module):
            yield body


def _first(module: nn.Module, paths: str) -> nn.Module | None:
    """The first of several paths, divided by ``|``, that a module has; None without one."""
    for path in filter(None, paths.split("|")):
        try:
            found = attrgetter(path)(module)
        except AttributeError:
            continue
        if isinstance(found, nn.Module):
            return found
    return None
