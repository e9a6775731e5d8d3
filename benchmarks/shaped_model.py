"""Random language models of a given shape: what a model costs does not depend on what it has learnt."""

from typing import Any

import torch

from ato.models import LanguageModel, ModelIdentity
from ato.numerics.devices import choose_device, choose_dtype

CONTEXT = 1024
GEMMA_2_2B = {
    "hidden_size": 2304,
    "num_hidden_layers": 26,
    "intermediate_size": 9216,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 256_000,
}
"""google/gemma-2-2b."""
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
}


def shaped_model(shape: dict[str, int], *, device: str = "auto", dtype: str = "auto") -> LanguageModel:
    """A Gemma 2 with random weights and one token a byte, made where it will run."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch_device = choose_device(device)
    config = Gemma2Config(**shape, max_position_embeddings=CONTEXT, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    before = torch.get_default_dtype()
    torch.set_default_dtype(choose_dtype(dtype, torch_device))
    try:
        with torch_device:
            torch.manual_seed(0)
            module = Gemma2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    name = f"random-gemma2-{config.num_hidden_layers}x{config.hidden_size}"
    return LanguageModel(ModelIdentity(name, None, "0" * 16), module.requires_grad_(False), byte_tokenizer())


def byte_tokenizer(context: int = CONTEXT) -> Any:
    """A fast tokenizer with one token a byte (ids 3 ... 258) after ``<pad>``, ``<bos>`` and ``<eos>``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(("<pad>", "<bos>", "<eos>", *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", model_max_length=context
    )
