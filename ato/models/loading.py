"""Loading a language model and checking that its residuals are read correctly."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ato.errors import ModelError
from ato.models.families import check_config
from ato.models.files import ModelFiles, locate
from ato.models.language_model import LanguageModel
from ato.models.self_check import self_check
from ato.models.tokenizer import read_tokenizer
from ato.models.transformers_patches import loading_options, parsed_once, quiet_transformers
from ato.numerics.devices import choose_device, choose_dtype


def load_model(
    spec: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    attention: str = "sdpa",
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a causal language model and check that its residuals are read correctly.

    Args:
        spec: ``smollm2-135m`` (embedded), a ``.gguf`` file, a local folder or a hub id.
        revision: branch, tag or commit on the hub.
        device: ``auto``, or a torch device; of several, the first.
        dtype: ``auto`` (bfloat16 where the hardware multiplies it, else float32), or a precision.
        attention: ``sdpa`` (eager for families without it), or ``eager`` where attention weights are wanted.
        trust_remote_code: run the Python code that the model's repository brings along.

    Raises:
        ModelError: there is no such model, it is of no supported family, or it fails the self-check.
        UnavailableError: the device, or the package of the embedded model, is missing.
        DamagedFileError: the embedded model is not the published file.
    """
    torch_device = choose_device(device)
    precision = choose_dtype(dtype, torch_device)
    files = locate(spec, revision)
    try:
        with quiet_transformers(), parsed_once():
            module, tokenizer = _load(files, precision, attention, trust_remote_code)
    except ModelError:
        raise
    except Exception as error:  # transformers raises whatever its parsers and checks raise.
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"transformers cannot load the model: {first_line[:300]}",
            where=files.name,
            cure="check that the files are complete and belong to a causal language model",
        ) from error
    model = LanguageModel(files.identity(), module.to(torch_device), tokenizer)
    if len(tokenizer) > model.vocabulary_size:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens and the model {model.vocabulary_size}",
            where=files.name,
            cure="use the tokenizer the model was trained with",
        )
    self_check(model)
    return model


def _load(files: ModelFiles, dtype: torch.dtype, attention: str, trust_remote_code: bool) -> tuple[nn.Module, Any]:
    from transformers import AutoModelForCausalLM

    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    if files.gguf is None:
        config = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
        check_config(config, files.name, trust_remote_code)
    tokenizer = read_tokenizer(files, trust_remote_code)
    # Unasked, transformers takes sdpa where the family has it and eager where not (Gemma 2, for its soft cap).
    chosen = {} if attention == "sdpa" else {"attn_implementation": attention}
    module = AutoModelForCausalLM.from_pretrained(
        files.folder, dtype=dtype, **chosen, **where, **loading_options(files.gguf)
    )
    return module.requires_grad_(False), tokenizer
