"""Random models of some families in a chosen precision, and random dictionaries for their sites."""

from pathlib import Path

import torch

import ato
from ato.models.language_model import LanguageModel
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.transcoder import Transcoder
from tests.model_zoo import CONFIGS, build
from tests.tiny_models import _config, byte_tokenizer

D = 16


def random_model(folder: Path, family: str, n_layers: int = 3, dtype: torch.dtype = torch.float64) -> LanguageModel:
    """A model of a family with every bias and gain of it random, so that nothing is right by being 0 or 1."""
    config = CONFIGS[family]() if family in CONFIGS else _config(family, n_layers, D)
    build(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    model = ato.load_model(str(folder))
    model.module.to(dtype)
    return model


def _draws(seed: int):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def random_sae(layer: int, width: int = 24, scale: float = 0.3) -> SparseAutoencoder:
    """An SAE of the stream after a layer, no good one: its errors are as large as its reconstructions."""
    draw = _draws(layer)
    return SparseAutoencoder(
        "topk",
        draw(D, width) * scale,
        draw(width) * scale,
        draw(width, D) * scale,
        draw(D) * scale,
        k=5,
        metadata={"hook_name": f"blocks.{layer}.hook_resid_post"},
    )


def random_transcoder(layer: int, width: int = 24, skip: bool = True, scale: float = 0.3) -> Transcoder:
    """A transcoder of a layer's MLP, no good one."""
    draw = _draws(100 + layer)
    return Transcoder(
        "topk",
        draw(D, width) * scale,
        draw(width) * scale,
        draw(width, D) * scale,
        draw(D) * scale,
        W_skip=draw(D, D) * scale if skip else None,
        k=5,
    )
