"""Tiny random models of families beyond ``tests.tiny_models``, every gain, bias and scale of them random too.

``save(name, folder)`` writes a folder that ``ato.load_model`` reads. Two blocks, or as many as a pattern of kinds needs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as t

from tests.tiny_models import VOCABULARY, byte_tokenizer

IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
D = 16
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": D,
    "intermediate_size": 24,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    **IDS,
}
_SIZED = _COMMON | {"head_dim": 4}
_LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "layer_types": ["linear_attention", "full_attention"],
}
_GEMMA4 = _SIZED | {
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 8,
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "global_head_dim": 8,
    "num_global_key_value_heads": 2,
    "final_logit_softcapping": 3.0,
}
_VISION = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "image_size": 8,
    "patch_size": 4,
}
_MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 0]}}
_LLAMA4 = _SIZED | {"intermediate_size_mlp": 24, "attention_chunk_size": 8, "attn_temperature_tuning": False}


def _opt(**changes: Any):
    own = {key: value for key, value in _COMMON.items() if key not in ("num_key_value_heads", "intermediate_size")}
    return t.OPTConfig(**own | {"ffn_dim": 24, "word_embed_proj_dim": D, "init_std": 0.2} | changes)


CONFIGS: dict[str, Callable[[], Any]] = {
    "opt": _opt,
    "bloom": lambda: t.BloomConfig(vocab_size=VOCABULARY, hidden_size=D, n_layer=2, n_head=4, **IDS),
    "phi": lambda: t.PhiConfig(**_COMMON),
    "phi3": lambda: t.Phi3Config(**_COMMON | {"original_max_position_embeddings": 128}),
    "cohere": lambda: t.CohereConfig(**_COMMON, logit_scale=0.37),
    "cohere2": lambda: t.Cohere2Config(
        **_SIZED, logit_scale=0.37, sliding_window=8, layer_types=["sliding_attention", "full_attention"]
    ),
    "granite": lambda: t.GraniteConfig(
        **_COMMON, residual_multiplier=0.22, logits_scaling=5.0, embedding_multiplier=3.0, attention_multiplier=0.4
    ),
    "glm": lambda: t.GlmConfig(**_SIZED),
    "glm4": lambda: t.Glm4Config(**_SIZED),
    "gemma": lambda: t.GemmaConfig(**_SIZED),
    "gemma4": lambda: t.Gemma4TextConfig(**_GEMMA4),
    "qwen3_next": lambda: t.Qwen3NextConfig(
        **_SIZED | _LINEAR,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=8,
        shared_expert_intermediate_size=8,
    ),
    "qwen3_5": lambda: t.Qwen3_5TextConfig(**_SIZED | _LINEAR),
    "llama4": lambda: t.Llama4TextConfig(
        **_LLAMA4, num_local_experts=2, interleave_moe_layer_step=2, no_rope_layers=[1, 0]
    ),
    "lfm2": lambda: t.Lfm2Config(**_COMMON, layer_types=["conv", "full_attention"], block_multiple_of=8),
}
"""Families of which every site is read."""

STREAM_ONLY: dict[str, Callable[[], Any]] = {
    "mamba": lambda: t.MambaConfig(vocab_size=VOCABULARY, hidden_size=D, state_size=4, num_hidden_layers=2, **IDS),
    "mamba2": lambda: t.Mamba2Config(
        vocab_size=VOCABULARY,
        hidden_size=D,
        state_size=4,
        num_hidden_layers=2,
        num_heads=4,
        head_dim=8,
        n_groups=2,
        **IDS,
    ),
    "falcon_h1": lambda: t.FalconH1Config(
        **_COMMON, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=4, lm_head_multiplier=0.3
    ),
}
"""Families of which only the stream behind blocks is read."""

NESTED: dict[str, Callable[[], Any]] = {
    "gemma3 vision": lambda: t.Gemma3Config(
        text_config=t.Gemma3TextConfig(**_SIZED, sliding_window=8), vision_config=_VISION, mm_tokens_per_image=4
    ),
    "gemma4 vision": lambda: t.Gemma4Config(text_config=_GEMMA4, vision_config=None, audio_config=None),
    "llama4 vision": lambda: t.Llama4Config(
        text_config=_LLAMA4 | {"num_local_experts": 2},
        vision_config=_VISION | {"projector_input_dim": 8, "projector_output_dim": 8, "vision_output_dim": 8},
    ),
    "qwen2.5-vl": lambda: t.Qwen2_5_VLConfig(
        text_config=_COMMON | _MROPE,
        vision_config={"depth": 1, "hidden_size": 8, "num_heads": 2, "intermediate_size": 8, "out_hidden_size": D},
    ),
    "qwen3-vl": lambda: t.Qwen3VLConfig(
        text_config=_SIZED | _MROPE,
        vision_config={
            "depth": 1,
            "hidden_size": 8,
            "num_heads": 2,
            "intermediate_size": 8,
            "out_hidden_size": D,
            "deepstack_visual_indexes": [0],
        },
    ),
    "qwen3.5 vision": lambda: t.Qwen3_5Config(
        text_config=_SIZED | _LINEAR,
        vision_config={"depth": 1, "hidden_size": 8, "num_heads": 2, "intermediate_size": 8, "out_hidden_size": D},
    ),
    "llava": lambda: t.LlavaConfig(text_config=t.LlamaConfig(**_COMMON), vision_config=t.CLIPVisionConfig(**_VISION)),
}
"""Models that read images too, whose text model is of a known family."""

UNKNOWN: dict[str, Callable[[], Any]] = {
    "olmo2": lambda: t.Olmo2Config(**_COMMON),
    "falcon": lambda: t.FalconConfig(
        **{key: value for key, value in _COMMON.items() if key != "num_key_value_heads"}, parallel_attn=True, bias=False
    ),
    "stablelm": lambda: t.StableLmConfig(**_COMMON),
    "granitemoe": lambda: t.GraniteMoeConfig(
        **_COMMON, residual_multiplier=0.22, logits_scaling=5.0, num_local_experts=2, num_experts_per_tok=1
    ),
}
"""Families that are in no register: the general rule reads them."""


def build(config: Any, seed: int = 0) -> torch.nn.Module:
    """A random model of a configuration, in float32; nothing of it is 0 or 1 by default."""
    both = t.AutoModelForImageTextToText  # as these checkpoints are published
    kind = both if type(config) in both._model_mapping else t.AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = kind.from_config(config, dtype=torch.float32).eval()
        for name, parameter in module.named_parameters():
            if parameter.dim() < 2 and not any(part in name for part in ("A_log", "dt_bias", ".D")):
                parameter.data += 0.3 * torch.randn(parameter.shape)
        for name, buffer in module.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.data = 0.5 + torch.rand(buffer.shape)
    return module


def save(config: Any, folder: Path | str, seed: int = 0) -> Path:
    """Save a random model of a configuration with its tokenizer; returns the folder."""
    build(config, seed).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return Path(folder)
