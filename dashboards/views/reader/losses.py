"""Next-token losses of sequences, which no table has: the model runs here on request, if it is small and on this machine."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboards.ui.loaded import small_model

if TYPE_CHECKING:
    from ato.models import LanguageModel


def losses_of(row: dict[str, Any], sequences: dict[int, list[int]]) -> dict[int, list[float | None]]:
    """Sequence -> -log p(next token) in nats at each of its tokens; None at the last.

    Args:
        row: with the collection's ``model``, ``revision`` and ``weights_hash``.
        sequences: number -> token ids.

    Raises:
        AtoError: as ``small_model``.
    """
    model = small_model(row["model"], row["revision"], row["weights_hash"])
    return {number: _losses(model, row["weights_hash"], tuple(token_ids)) for number, token_ids in sequences.items()}


@st.cache_data(max_entries=500, show_spinner="Running the model ...")
def _losses(_model: "LanguageModel", weights_hash: str, token_ids: tuple[int, ...]) -> list[float | None]:
    import torch

    losses = _model.token_losses(torch.tensor([token_ids]), torch.tensor([len(token_ids)]))
    return [*losses[0].tolist(), None]
