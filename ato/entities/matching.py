"""Controls that are alike in what must not matter: classes of equal token counts, latents that fire as often, random directions."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ato.entities.groups import FIRST, LEFT_OUT, SECOND, EntityGroups
from ato.errors import InputError
from ato.numerics.counter_rng import uniforms


@dataclass(frozen=True)
class MatchedClasses:
    """The entities that are left when both classes have the same token counts."""

    mask: np.ndarray
    """[n] bool: kept. Entities of neither class are not."""
    n_left_out: tuple[int, int]
    """Entities of the first and of the second class that are not kept."""


def match_on_tokens(groups: EntityGroups, n_tokens: np.ndarray, seed: int = 0) -> MatchedClasses:
    """As many entities of each class in every stratum of type, split and token count.

    Of the larger class of a stratum those with the smallest draws by (seed, key) stay: the order of rows changes
    nothing. Analyses go on with ``groups.only(matched.mask)``.

    Args:
        groups: the entities.
        n_tokens: [n] tokens of each name.
        seed: of the draws.

    Raises:
        InputError: there are not n token counts.
    """
    n_tokens = np.asarray(n_tokens)
    if n_tokens.shape != (groups.n,):
        raise InputError(f"{groups.n} entities and token counts of shape {n_tokens.shape}")
    labelled = groups.label != LEFT_OUT
    _, stratum = np.unique(np.stack([groups.entity_type, groups.split, n_tokens]), axis=1, return_inverse=True)
    stratum = stratum.reshape(-1)
    first, second = (
        np.bincount(stratum[groups.label == label], minlength=stratum.max(initial=-1) + 1) for label in (FIRST, SECOND)
    )
    kept = np.minimum(first, second)
    # The rank of each entity in its class of its stratum, by its draw.
    draw = uniforms(seed, groups.key)
    order = np.lexsort((draw, groups.label, stratum))
    cell = stratum[order] * 3 + groups.label[order] + 1
    starts = np.flatnonzero(np.append(True, cell[1:] != cell[:-1])) if len(cell) else np.zeros(0, dtype=np.int64)
    rank = np.empty(groups.n, dtype=np.int64)
    rank[order] = np.arange(groups.n) - np.repeat(starts, np.diff(starts, append=groups.n))
    mask = labelled & (rank < kept[stratum])
    left_out = [int(((groups.label == label) & ~mask).sum()) for label in (FIRST, SECOND)]
    return MatchedClasses(mask, (left_out[0], left_out[1]))


@dataclass(frozen=True)
class LatentTraits:
    """What control latents are matched on."""

    firing_rate: np.ndarray
    """[d_sae] share of the entities on which each latent is active (``LatentScores.firing_rate``)."""
    decoder_norm: np.ndarray
    """[d_sae] norm of each decoder row."""


@dataclass(frozen=True)
class MatchedLatents:
    """Control latents, and how alike they are."""

    latents: np.ndarray
    """[n] int64, in the order of their draws."""
    rate_ratio: np.ndarray
    """[n] firing rate over that of the matched latent."""
    norm_ratio: np.ndarray
    """[n] decoder norm over that of the matched latent."""


def matched_latents(
    traits: LatentTraits, latent: int, n: int = 20, seed: int = 0, excluded: Collection[int] = ()
) -> MatchedLatents:
    """Random latents of the same SAE that fire on about as many entities and have a decoder row of about that norm.

    Drawn without replacement from the 2 n latents nearest in |log firing rate| + |log decoder norm|. A latent that
    never fires on an entity is no control for one that does, and is never among them.

    Args:
        traits: of all latents of the SAE.
        latent: that is to be matched.
        n: controls, 20 or more for an empirical p of 0.05.
        seed: of the draws, which depend on the latent too.
        excluded: latents never drawn, such as others that were chosen.

    Raises:
        InputError: the latent never fires or has no decoder row, or fewer than n others are left.
    """
    rate, norm = np.asarray(traits.firing_rate, np.float64), np.asarray(traits.decoder_norm, np.float64)
    if not 0 <= latent < len(rate) or not rate[latent] > 0 or not norm[latent] > 0:
        raise InputError(f"latent {latent} fires on no entity", cure="match a latent that does")
    usable = (rate > 0) & (norm > 0)
    usable[[latent, *excluded]] = False
    candidates = np.flatnonzero(usable)
    if len(candidates) < n:
        raise InputError(
            f"only {len(candidates)} other latents fire on entities", where=f"{n} controls", cure="ask for fewer"
        )
    apart = np.abs(np.log(rate[candidates] / rate[latent])) + np.abs(np.log(norm[candidates] / norm[latent]))
    near = candidates[np.argsort(apart, kind="stable")[: 2 * n]]
    drawn = near[np.argsort(uniforms(seed, latent, near), kind="stable")[:n]]
    return MatchedLatents(drawn, rate[drawn] / rate[latent], norm[drawn] / norm[latent])


def random_directions(n: int, d: int, seed: int = 0) -> np.ndarray:
    """[n, d] float32 unit vectors, uniform on the sphere; the first of them do not depend on n."""
    drawn = np.random.default_rng(seed).standard_normal((n, d))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
