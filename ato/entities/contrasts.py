"""Latents that are chosen on all entity types but one, and how well they tell the classes of that one apart."""

from dataclasses import dataclass

import numpy as np

from ato.numerics.auroc import TypeAurocs, auroc_by_type


@dataclass(frozen=True)
class CrossTypeChoice:
    """For each type, the latent that is best on all other types."""

    latent: np.ndarray
    """[types] int64; -1 where no other type has both classes."""
    direction: np.ndarray
    """[types] int8: 1 if it fires more in the first class of the others, -1 if in the second, 0 without a latent."""


def chosen_on_other_types(
    separation: np.ndarray, direction: int | None = None, allowed: np.ndarray | None = None
) -> CrossTypeChoice:
    """The latent of largest strength over the other types, for each type; of equal ones the first.

    Strength is the smallest separation of any other type in the latent's direction. Types whose separation is NaN
    choose nothing.

    Args:
        separation: [types, d] on train, of the latents of one or of several SAEs side by side.
        direction: 1 or -1 to choose among latents of one class only; None for either.
        allowed: [d] bool, such as latents that are silent on ordinary text.
    """
    n_types = len(separation)
    latent, sign = np.full(n_types, -1), np.zeros(n_types, dtype=np.int8)
    known = np.isfinite(separation).all(axis=1)
    for number in range(n_types):
        others = separation[known & (np.arange(n_types) != number)]
        if not len(others) or (allowed is not None and not allowed.any()):
            continue
        lowest, highest = others.min(0), -others.max(0)
        if direction is not None:
            lowest, highest = (lowest, lowest) if direction > 0 else (highest, highest)
        strength = np.maximum(lowest, highest)
        strength = strength if allowed is None else np.where(allowed, strength, -np.inf)
        if not strength.max() > 0:
            continue  # no latent fires more in one class of all other types
        latent[number] = strength.argmax()
        one = lowest[latent[number]] >= highest[latent[number]]
        sign[number] = direction if direction is not None else 1 if one else -1
    return CrossTypeChoice(latent, sign)


def cross_type_aurocs(
    activations: np.ndarray,
    choice: CrossTypeChoice,
    labels: np.ndarray,
    types: np.ndarray,
) -> TypeAurocs:
    """AUROC on each type of the latent that was chosen on the other types, in the direction it has there.

    Args:
        activations: [n, types], column t of the latent chosen for type t; read for the entities of type t only.
        choice: what was chosen; a type without a latent has a missing AUROC.
        labels: [n] of test entities: 1, 0, or others, which are left out.
        types: [n] codes.
    """
    own = np.asarray(activations, dtype=np.float64)[np.arange(len(types)), types]
    sign = choice.direction[types].astype(np.float64)
    scores = np.where(sign == 0, np.nan, own * sign)
    return auroc_by_type(scores, labels, types, len(choice.latent))
