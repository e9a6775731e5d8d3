"""Words of a vocabulary with their first letters, and the model's residuals at them: what absorption is measured on."""

from collections.abc import Sequence
from string import ascii_lowercase

import numpy as np
import torch

from ato.models.language_model import LanguageModel

PREFIX = "The word apple begins with A. The word horse begins with H. The word"
"""What stands before a word, so that the model thinks of its first letter."""


def first_letter_words(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of a vocabulary that are words: a space, then at least three Latin letters, at most the first a capital.

    Args:
        texts: [vocabulary] text of each token.

    Returns:
        token ids [n] int64 and letters [n], codes from 0 (a) to 25 (z).
    """
    ids, letters = [], []
    for token, text in enumerate(texts):
        word = text[1:]
        latin = word.isascii() and word.isalpha() and word[1:].islower()
        if text.startswith(" ") and latin and len(word) >= 3:
            ids.append(token)
            letters.append(ascii_lowercase.index(word[0].lower()))
    return np.array(ids, dtype=np.int64), np.array(letters, dtype=np.int64)


def word_residuals(
    model: LanguageModel,
    token_ids: np.ndarray,
    prefix_ids: Sequence[int],
    layer: int,
    *,
    site: str = "resid_post",
    batch_size: int = 64,
) -> torch.Tensor:
    """[n, d] float32 residuals at each word behind a prefix, which is all that a causal model sees there.

    Args:
        model: the model.
        token_ids: [n] words.
        prefix_ids: tokens before each of them, such as those of ``PREFIX``.
        layer: whose residuals are read.
        site: where in the block, see ``ato.models.sites.SITES``.
        batch_size: words in one pass.
    """
    found = [torch.zeros(0, model.width(site, [layer]))]
    for start in range(0, len(token_ids), batch_size):
        words = torch.as_tensor(np.asarray(token_ids[start : start + batch_size], dtype=np.int64))
        prefix = torch.tensor(list(prefix_ids), dtype=torch.long).expand(len(words), -1)
        ids = torch.cat([prefix, words[:, None]], dim=1)
        with torch.inference_mode():
            lengths = torch.full((len(words),), ids.shape[1])
            found.append(model.residuals(ids, lengths, [layer], site)[layer][:, -1].float().cpu())
    return torch.cat(found)
