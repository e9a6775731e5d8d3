"""Rows that look like residuals of a language model, for benchmarks that need no model."""

import numpy as np


def residual_like_rows(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Source and target rows [n, d] with a decaying spectrum, large means and three massive dimensions."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(rng.standard_normal((d, d)))[0] * (np.arange(1, d + 1) ** -0.5)[:, None]
    x = rng.standard_normal((n, d), dtype=np.float32) @ mixing.astype(np.float32) * 10
    update = rng.standard_normal((d, d), dtype=np.float32) / d**0.5
    y = x + np.maximum(x @ update, 0) + rng.standard_normal((n, d), dtype=np.float32) * 0.3
    scale = np.ones(d, dtype=np.float32)
    scale[:3] = 50
    mean = rng.standard_normal(d, dtype=np.float32) * 3
    return x * scale + mean, y * scale + mean
