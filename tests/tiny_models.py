"""Tiny random language models of every supported family, and models whose blocks are known exactly.

Each ``save_*`` writes a folder that ``ato.load_model`` reads: config, safetensors, byte-level tokenizer.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ato.models import LanguageModel
from ato.text import TokenSequence
from benchmarks import shaped_model

FAMILIES = ("gpt2", "gpt_neox", "llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3")
VOCABULARY = 264
"""Rows of the embedding: a few more than the 259 tokens, as in Pythia; some tokenizer classes add one of their own."""
CONTEXT = 512

# The projections that write into the residual stream, per family: zeroed, a block adds nothing.
_OUTPUT_PROJECTIONS = ("attn.c_proj", "mlp.c_proj", "attention.dense", "dense_4h_to_h", "o_proj", "down_proj")


def byte_tokenizer():
    """A fast tokenizer with one token a byte (ids 3 ... 258) after ``<pad>``, ``<bos>`` and ``<eos>``; adds no BOS."""
    return shaped_model.byte_tokenizer(CONTEXT)


def _config(family: str, n_layers: int, d_model: int):
    import transformers

    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if family == "gpt2":
        return transformers.GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=d_model,
            n_layer=n_layers,
            n_head=4,
            n_positions=CONTEXT,
            initializer_range=0.2,
            **ids,
        )
    common = {
        "vocab_size": VOCABULARY,
        "hidden_size": d_model,
        "intermediate_size": 2 * d_model,
        "num_attention_heads": 4,
        "num_hidden_layers": n_layers,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.2,
        **ids,
    }
    if family == "gpt_neox":
        return transformers.GPTNeoXConfig(**common)
    grouped = common | {"num_key_value_heads": 2}
    sized = grouped | {"head_dim": d_model // 4}
    sliding = sized | {"query_pre_attn_scalar": d_model // 4, "sliding_window": 8}
    return {
        "llama": lambda: transformers.LlamaConfig(**grouped),
        "qwen2": lambda: transformers.Qwen2Config(**grouped),
        "qwen3": lambda: transformers.Qwen3Config(**sized),
        "mistral": lambda: transformers.MistralConfig(**sized, sliding_window=8),
        "gemma2": lambda: transformers.Gemma2Config(**sliding),
        "gemma3": lambda: transformers.Gemma3TextConfig(**sliding),
    }[family]()


def _build(family: str, n_layers: int, d_model: int, seed: int) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(_config(family, n_layers, d_model), dtype=torch.float32).eval()


def _save(module: torch.nn.Module, folder: Path | str) -> Path:
    folder = Path(folder)
    module.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def save_tiny_model(
    folder: Path | str, family: str = "llama", n_layers: int = 4, d_model: int = 32, seed: int = 0
) -> Path:
    """Save a random model of one of ``FAMILIES`` with its tokenizer; returns the folder."""
    return _save(_build(family, n_layers, d_model, seed), folder)


def save_identity_model(
    folder: Path | str, family: str = "llama", n_layers: int = 4, d_model: int = 32, seed: int = 0
) -> Path:
    """Save a model whose blocks add nothing: every layer's residual is the embedding."""
    module = _build(family, n_layers, d_model, seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.rsplit(".", 1)[0].endswith(_OUTPUT_PROJECTIONS):
                parameter.zero_()
    return _save(module, folder)


class LinearBlock(torch.nn.Module):
    """A block that maps x to x + W x, exactly: a planted truth for transport operators.

    Args:
        weight: W, [d, d].
    """

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)

    def forward(self, hidden_states: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        """x + W x for x [..., d]."""
        return hidden_states + hidden_states @ self.weight.to(hidden_states.dtype).T


def plant_linear_blocks(blocks: torch.nn.ModuleList, matrices: Sequence[np.ndarray]) -> None:
    """Replace the blocks of a loaded llama (``model.blocks``) by ``x -> x + W x``, one W [d, d] a block."""
    if len(matrices) != len(blocks):
        raise ValueError(f"{len(matrices)} matrices for {len(blocks)} blocks")
    for i, matrix in enumerate(matrices):
        blocks[i] = LinearBlock(torch.as_tensor(matrix, dtype=torch.float32))


def sequences_of(lengths: Sequence[int], seed: int = 0) -> list[TokenSequence]:
    """Random train sequences of these lengths, a document each."""
    rng = np.random.default_rng(seed)
    return [
        TokenSequence(i, f"{i:016x}", i, "train", i % 2, 0, rng.integers(3, 259, n).astype(np.int32), "")
        for i, n in enumerate(lengths)
    ]


def n_hooks(model: LanguageModel) -> int:
    """Hooks that the modules of a model have."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.module.modules())
