"""Graph: the nodes of one prompt and the direct effects between them, whichever way those were computed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Graph:
    """Nodes and directed edges of one prompt; all arrays by node or by edge."""

    token_ids: tuple[int, ...]
    """Of the prompt, BOS included."""
    kind: np.ndarray
    """[n] str: feature, error, token, constant, logit or transport_error."""
    layer: np.ndarray
    """[n] int: layer of the SAE site (of the target for transport_error); -1 tokens and constants; n_layers logits."""
    position: np.ndarray
    """[n] int."""
    feature: np.ndarray
    """[n] int: feature id; token id of a logit; -1 others."""
    activation: np.ndarray
    """[n] float64: activation of a feature; logit or probability of a logit; NaN others."""
    influence: np.ndarray
    """[n] float64, NaN before pruning scores."""
    source: np.ndarray
    """[m] int node indices."""
    target: np.ndarray
    """[m] int node indices."""
    weight: np.ndarray
    """[m] float64, direct effect of source on target."""
    total: np.ndarray
    """[n] float64: value of the target that its incoming edges (all, before pruning) must sum to; NaN for leaves."""
