"""Where the parts of a causal language model are: body, blocks, final norm, head, for each supported family."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from ato.errors import ModelError


@dataclass(frozen=True)
class Layout:
    """Attribute paths of a family's parts; blocks and final norm are named from the body."""

    body: str
    blocks: str
    final_norm: str


_LLAMA = Layout("model", "layers", "norm")

FAMILIES: dict[str, Layout] = {
    "gpt2": Layout("transformer", "h", "ln_f"),
    "gpt_neox": Layout("gpt_neox", "layers", "final_layer_norm"),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "gemma3": Layout("model.language_model", "layers", "norm"),
}
"""Model type, as in config.json, -> layout. Pythia is ``gpt_neox``; SmolLM2 is ``llama``."""


@dataclass(frozen=True)
class Parts:
    """The parts of a loaded model that a forward pass is made of."""

    body: nn.Module
    """Token ids -> hidden state after the final norm."""
    blocks: nn.ModuleList
    final_norm: nn.Module
    head: nn.Module
    """Hidden state -> logits, before any soft cap."""
    logit_softcap: float | None
    """Gemma 2 squashes its logits into (-cap, cap)."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Next-token logits [..., vocabulary] of hidden states [..., d] that are behind the final norm."""
        logits = self.head(hidden)
        if self.logit_softcap:
            logits = torch.tanh(logits / self.logit_softcap) * self.logit_softcap
        return logits


def find_parts(module: nn.Module) -> Parts:
    """Find the parts of a causal language model.

    A family that is not in ``FAMILIES`` is tried with the same layouts; the self-check on load decides.

    Raises:
        ModelError: no layout fits.
    """
    config: Any = module.config
    model_type = str(config.model_type)
    layouts = [FAMILIES[model_type]] if model_type in FAMILIES else sorted(set(FAMILIES.values()), key=str)
    for layout in layouts:
        try:
            body = attrgetter(layout.body)(module)
            blocks, final_norm = getattr(body, layout.blocks), getattr(body, layout.final_norm)
            head = module.get_output_embeddings()  # type: ignore[operator]
        except AttributeError:
            continue
        if isinstance(blocks, nn.ModuleList) and head is not None:
            text_config = config.get_text_config()
            return Parts(body, blocks, final_norm, head, getattr(text_config, "final_logit_softcapping", None))
    raise ModelError(
        f"models of type {model_type} are not supported",
        cure=f"use a model of type {', '.join(FAMILIES)}, or one built like them",
    )
