"""Entities, residuals and an SAE in which the latents that tell known from unknown are known by construction."""

import numpy as np
import torch

from ato.entities.groups import EntityGroups
from ato.saes import ActiveFeatures, SparseAutoencoder

D, D_SAE = 24, 60
PLANTED, TALKATIVE, FICKLE = 7, 11, 12
"""Latents: fires on the known; fires on the known, but on much of ordinary text too; fires on the known of types 0
only, and on the unknown of the others."""


def make_groups(n: int = 600, n_types: int = 3, seed: int = 0) -> EntityGroups:
    """Entities of random types and labels, 40 % known, 40 % unknown, the rest between; splits 50/10/40."""
    rng = np.random.default_rng([seed, 1])
    return EntityGroups(
        rng.integers(n_types, size=n),
        rng.choice([1, 0, -1], p=[0.4, 0.4, 0.2], size=n),
        rng.choice([0, 1, 2], p=[0.5, 0.1, 0.4], size=n),
        rng.permutation(n).astype(np.uint64) * np.uint64(7919),
        tuple(f"type{number}" for number in range(n_types)),
    )


def make_sae(seed: int = 0) -> SparseAutoencoder:
    """Rows 0, 1 and 2 of a residual are what the planted latents read; all others read the rest at random."""
    generator = torch.Generator().manual_seed(seed)
    encoder = torch.randn(D, D_SAE, generator=generator) / D**0.5
    encoder[:3] = 0
    for row, latent in enumerate((PLANTED, TALKATIVE, FICKLE)):
        encoder[:, latent] = 0
        encoder[row, latent] = 1
    bias = torch.full((D_SAE,), -0.5)
    bias[[PLANTED, TALKATIVE, FICKLE]] = -1
    return SparseAutoencoder("standard", encoder, bias, encoder.T.contiguous(), torch.zeros(D))


def make_residuals(groups: EntityGroups, seed: int = 0) -> torch.Tensor:
    """[n, D]: noise, types apart from one another, and 3 on the planted rows where they are on."""
    rng = np.random.default_rng([seed, 2])
    x = rng.standard_normal((groups.n, D))
    x[:, 3:] += rng.standard_normal((groups.n_types, D - 3))[groups.entity_type] * 0.7
    known, first_type = groups.label == 1, groups.entity_type == 0
    x[:, :3] *= 0.1
    for row, on in enumerate((known, known, known == first_type)):
        chance = np.where(on, (0.9, 0.97, 0.95)[row], (0.06, 0.03, 0.05)[row])
        x[:, row] += 3 * (rng.random(groups.n) < chance)
    return torch.tensor(x, dtype=torch.float32)


def make_text(n: int = 4000, seed: int = 0) -> torch.Tensor:
    """[n, D] of ordinary text: the talkative row is on in a third of the positions, the other planted ones never."""
    rng = np.random.default_rng([seed, 3])
    x = rng.standard_normal((n, D))
    x[:, :3] *= 0.1
    x[:, 1] += 3 * (rng.random(n) < 0.33)
    return torch.tensor(x, dtype=torch.float32)


def triplets(dense: np.ndarray) -> ActiveFeatures:
    """The positive entries of dense activations [n, d]."""
    token, feature = np.nonzero(dense)
    value = torch.tensor(dense[token, feature], dtype=torch.float32)
    return ActiveFeatures(len(dense), torch.from_numpy(token), torch.from_numpy(feature), value)
