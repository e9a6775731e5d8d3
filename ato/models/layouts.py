"""The register of model families: where a block's parts are, what it adds to the stream, how logits are scaled.

``docs/families.md`` shows it as a table, made by ``ato.models.families_page``. A family that is missing here is looked at by a general
rule, see ``ato.models.families``; in both cases the checks on load and on the first use of a site decide.
"""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Layout:
    """Attribute paths of a family's parts; blocks and final norm are named from the body, the rest from a block.

    ``a|b`` is the first of the two that a block has: hybrid models mix kinds of blocks. An empty path: the family has
    no such part, and sites that need it are refused. Each block must satisfy, see ``ato.models.additivity``::

        out = block_scale * (in + attn_out + mlp_out + beside)
    """

    body: str
    blocks: str
    final_norm: str
    attention: str = ""
    """Gives its output and its weights."""
    projection: str = ""
    """The attention's output projection."""
    attn_out: str = ""
    """Gives what attention adds to the stream, before the ``multiplier``."""
    mlp_out: str = ""
    """Gives what the MLP adds to the stream, before the ``multiplier``."""
    mlp_projection: str = ""
    """The MLP's output projection."""
    mlp: str = field(default="", kw_only=True)
    """Reads what the MLP reads, and nothing else of the stream; empty where several parts do."""
    embeddings: tuple[str, ...] = ("embed_tokens",)
    """What makes the stream before the first block, as a sum; named from the body. Empty where it is no plain sum."""
    multiplier: str = ""
    """Attribute of a block: the number that attention's and the MLP's outputs are multiplied by when they are added."""
    beside: tuple[str, ...] = ()
    """What else gives an addition to the stream."""
    block_scale: str = ""
    """Attribute of a block: the number that the whole stream is multiplied by at its end."""
    behind_norm: str = ""
    """What follows the final norm, named from the body."""
    logits: str = ""
    """Key of the configuration that logits are multiplied by; ``1/key`` where they are divided."""
    cache: bool = True
    """Whether transformers' plain cache of keys and values is all that a block keeps of earlier tokens."""
    names: str = ""
    """Models of the family, for the documentation."""


_LLAMA = Layout(
    "model", "layers", "norm", "self_attn", "self_attn.o_proj", "self_attn", "mlp", "mlp.down_proj", mlp="mlp"
)
# These normalise what attention and MLP give before they add it.
_GEMMA = replace(_LLAMA, attn_out="post_attention_layernorm", mlp_out="post_feedforward_layernorm")
_PHI = replace(_LLAMA, projection="self_attn.dense", mlp_projection="mlp.fc2", final_norm="final_layernorm")
_QWEN_HYBRID = replace(
    _LLAMA, attn_out="linear_attn|self_attn", projection="self_attn.o_proj|linear_attn.out_proj", cache=False
)
_MAMBA = Layout("backbone", "layers", "norm_f", embeddings=(), cache=False)

FAMILIES: dict[str, Layout] = {
    "gpt2": Layout(
        "transformer",
        "h",
        "ln_f",
        "attn",
        "attn.c_proj",
        "attn",
        "mlp",
        "mlp.c_proj",
        ("wte", "wpe"),
        mlp="mlp",
        names="GPT-2",
    ),
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
        mlp="mlp",
        names="Pythia, GPT-NeoX",
    ),
    "llama": replace(_LLAMA, names="Llama 1 to 3, SmolLM2, Yi"),
    "mistral": replace(_LLAMA, names="Mistral"),
    "qwen2": replace(_LLAMA, names="Qwen 2, 2.5"),
    "qwen2_vl_text": replace(_LLAMA, names="Qwen2-VL"),
    "qwen2_5_vl_text": replace(_LLAMA, names="Qwen2.5-VL"),
    "qwen3": replace(_LLAMA, names="Qwen 3"),
    "qwen3_vl_text": replace(_LLAMA, names="Qwen3-VL"),
    "qwen3_next": replace(_QWEN_HYBRID, names="Qwen3-Next"),
    "qwen3_5_text": replace(_QWEN_HYBRID, names="Qwen 3.5"),
    "qwen3_5_moe_text": replace(_QWEN_HYBRID, names="Qwen 3.5 MoE"),
    "gemma": replace(_LLAMA, names="Gemma 1"),
    "gemma2": replace(_GEMMA, names="Gemma 2"),
    "gemma3_text": replace(_GEMMA, names="Gemma 3"),
    "gemma4_text": replace(
        _GEMMA,
        beside=("post_per_layer_input_norm",),
        block_scale="layer_scalar",
        embeddings=(),
        mlp="",  # experts read the stream beside the MLP
        names="Gemma 4",
    ),
    "llama4_text": replace(
        _LLAMA, mlp="feed_forward", mlp_out="feed_forward", mlp_projection="feed_forward.down_proj", names="Llama 4"
    ),
    "opt": Layout(
        "model.decoder",
        "layers",
        "final_layer_norm",
        "self_attn",
        "self_attn.out_proj",
        "self_attn",
        "fc2",
        "fc2",
        ("embed_tokens", "embed_positions"),
        mlp="fc1",
        behind_norm="project_out",
        names="OPT",
    ),
    # Attention and MLP of BLOOM return the stream with their addition: their last projections give it alone.
    "bloom": Layout(
        "transformer",
        "h",
        "ln_f",
        "self_attention",
        "self_attention.dense",
        "self_attention.dense",
        "mlp.dense_4h_to_h",
        "mlp.dense_4h_to_h",
        embeddings=(),
        mlp="mlp.dense_h_to_4h",
        names="BLOOM",
    ),
    "phi": replace(_PHI, names="Phi 1, 1.5, 2"),
    "phi3": replace(_LLAMA, names="Phi 3, 3.5, 4"),
    "cohere": replace(_LLAMA, logits="logit_scale", names="Command R"),
    "cohere2": replace(_LLAMA, logits="logit_scale", names="Command R7B, Command A"),
    "granite": replace(_LLAMA, multiplier="residual_multiplier", logits="1/logits_scaling", names="Granite 3, 4 dense"),
    "glm": replace(_LLAMA, names="GLM-4-9B, GLM-Edge"),
    "glm4": replace(_LLAMA, attn_out="post_self_attn_layernorm", mlp_out="post_mlp_layernorm", names="GLM-4-0414"),
    "lfm2": replace(
        _LLAMA,
        final_norm="embedding_norm",
        projection="self_attn.out_proj",
        attn_out="self_attn|conv",
        mlp="feed_forward",
        mlp_out="feed_forward",
        mlp_projection="feed_forward.w2",
        cache=False,
        embeddings=(),
        names="LFM2",
    ),
    "mamba": replace(_MAMBA, names="Mamba"),
    "falcon_mamba": replace(_MAMBA, names="Falcon Mamba"),
    "mamba2": replace(_MAMBA, names="Mamba 2, Codestral Mamba"),
    "falcon_h1": Layout(
        "model",
        "layers",
        "final_layernorm",
        "self_attn",
        embeddings=(),
        logits="lm_head_multiplier",
        cache=False,
        names="Falcon-H1",
    ),
}
"""Model type of the text model, as in config.json (there in ``text_config``, of models that read images too) -> layout."""

_TEXT_MODELS = ("text_config", "thinker_config", "llm_config", "language_config")
"""Where configurations of models that read images or sound too describe the text model."""
_CONTEXTS = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "max_sequence_length", "n_ctx")
"""Names that families use for the longest sequence."""


def text_config(config: Any) -> Any:
    """The part of a configuration that describes the text model; all of it, of models that read only text.

    Args:
        config: an object of transformers, or what config.json holds.
    """
    for name in _TEXT_MODELS:
        inner = _entry(config, name)
        if inner is not None and isinstance(inner, dict) == isinstance(config, dict):
            return text_config(inner)
    return config


def context_of(config: Any) -> int | None:
    """The longest sequence that a configuration names, in tokens; None of state-space models and some others.

    Args:
        config: see ``text_config``.
    """
    text = text_config(config)
    named = next((found for name in _CONTEXTS if (found := _entry(text, name))), None)
    return None if named is None else int(named)


def _entry(config: Any, name: str) -> Any:
    return config.get(name) if isinstance(config, dict) else getattr(config, name, None)
