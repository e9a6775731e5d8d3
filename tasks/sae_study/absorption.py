"""Absorption of first letters, where SAE and model are large enough for it to mean something."""

from collections.abc import Mapping

import numpy as np
import torch

from ato.models.language_model import LanguageModel
from ato.numerics.intervals import Estimate
from ato.sae_studies.absorption import Absorption, absorption_reason, first_letter_absorption
from ato.sae_studies.first_letters import PREFIX, first_letter_words, word_residuals
from ato.sae_studies.metrics import Metric
from ato.saes import SparseAutoencoder
from ato.text.token_texts import TokenTexts

TRAIN_SHARE = 0.7
"""Of the words."""


def absorption_metrics(
    lm: LanguageModel, layer: int, site: str, saes: Mapping[str, SparseAutoencoder]
) -> dict[str, list[Metric]]:
    """Metrics of each SAE by key; missing, with the reason, where absorption has no meaning."""
    n_parameters = sum(parameter.numel() for parameter in lm.module.parameters())
    found: dict[str, list[Metric]] = {}
    words: tuple[torch.Tensor, np.ndarray, np.ndarray] | None = None
    for key, sae in saes.items():
        if reason := absorption_reason(sae.d_sae, n_parameters):
            found[key] = Absorption(Estimate(None), Estimate(None), (), 0, reason).metrics()
            continue
        words = words or _words(lm, layer, site)
        found[key] = first_letter_absorption(sae, *words, n_parameters).metrics()
    return found


def _words(lm: LanguageModel, layer: int, site: str) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Residuals, letters, and which words are train words."""
    texts = TokenTexts(lm.tokenizer).of(np.arange(lm.vocabulary_size))
    ids, letters = first_letter_words(texts)
    prefix = [*lm.prompt_ids, *lm.tokenizer(PREFIX, add_special_tokens=False)["input_ids"]]
    train = np.random.default_rng(0).random(len(ids)) < TRAIN_SHARE
    return word_residuals(lm, ids, prefix, layer, site=site), letters, train
