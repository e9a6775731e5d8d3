"""Loading a language model and checking that its residuals are read correctly."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ato.errors import AtoError, ModelError, first_line
from ato.models.families import check_config
from ato.models.files import ModelFiles, locate
from ato.models.language_model import LanguageModel
from ato.models.layouts import FAMILIES
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
        raise ModelError(
            f"transformers cannot load the model: {first_line(error)}",
            where=files.name,
            cure="check that the files are complete and belong to a causal language model",
        ) from error
    try:
        model = LanguageModel(files.identity(), module.to(torch_device), tokenizer)
        _check_vocabulary(model, files.name)
        self_check(model)
    except (AtoError, torch.OutOfMemoryError):
        raise
    except (
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # of a body that is run otherwise
        kind = getattr(module.config, "model_type", type(module).__name__)
        raise ModelError(
            f"a model of type {kind} cannot be run block by block: {first_line(error)}",
            where=files.name,
            cure=f"use a model of type {', '.join(FAMILIES)}, or of the same structure",
        ) from error
    return model


def _check_vocabulary(model: LanguageModel, name: str) -> None:
    if (n := len(model.tokenizer)) > model.vocabulary_size:
        raise ModelError(
            f"the tokenizer has {n} tokens and the model {model.vocabulary_size}",
            where=name,
            cure="use the tokenizer the model was trained with",
        )


def _load(files: ModelFiles, dtype: torch.dtype, attention: str, trust_remote_code: bool) -> tuple[nn.Module, Any]:
    where: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    if files.gguf is None:
        config = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
        check_config(config, files.name, trust_remote_code)
    tokenizer = read_tokenizer(files, trust_remote_code)
    # Unasked, transformers takes sdpa where the family has it and eager where not (Gemma 2, for its soft cap).
    chosen = {} if attention == "sdpa" else {"attn_implementation": attention}
    loader = _loader(files, where)
    options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True, **chosen, **where}
    module, found = loader.from_pretrained(files.folder, **options, **loading_options(files.gguf))
    if missing := sorted(found["missing_keys"]):  # transformers would leave them random
        raise ModelError(
            f"{len(missing)} weights are missing, {missing[0]} among them",
            where=files.name,
            cure="download or save the model again, with all of its weight files",
        )
    return module.requires_grad_(False), tokenizer


def _loader(files: ModelFiles, where: dict[str, Any]) -> Any:
    """transformers' loader of causal language models, or the one of models that read images too.

    Raises:
        ModelError: transformers has no language model of this type.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    if files.gguf is not None:
        return AutoModelForCausalLM
    config = AutoConfig.from_pretrained(files.folder, **where)
    if type(config) in AutoModelForCausalLM._model_mapping or "AutoModelForCausalLM" in (
        getattr(config, "auto_map", None) or {}
    ):
        return AutoModelForCausalLM
    if type(config) in AutoModelForImageTextToText._model_mapping:
        return AutoModelForImageTextToText
    raise ModelError(
        f"a model of type {config.model_type} is no causal language model that transformers has",
        where=files.name,
        cure=f"use a model of type {', '.join(FAMILIES)}, or of the same structure",
    )
