"""Sizes of a study: rows, groups, matrices and bytes, from its settings and the width of the model."""

import math
import re

from ato.operators.methods import METHODS
from flows.settings import Settings

TRAIN, VAL, TEST = 0.6, 0.2, 0.2
"""Shares of the documents."""
ACTIVATION_KEYS = 20
"""Bytes of a row of activations without its residual: sequence, position, token and norm, uncompressed."""


def n_devices(settings: Settings) -> int:
    """Devices that share the sequences of a collection; later stages run on the first."""
    return settings.model.device.count(",") + 1


def n_groups(settings: Settings) -> int:
    """Token groups with moments of their own: folds, val, test, and the parts of folds in the scaling study."""
    folds = settings.collect.n_folds
    cuts = {fraction for fraction in settings.operators.train_fractions if fraction < 1}
    return folds + 2 + sum(abs(cut * folds - round(cut * folds)) > 1e-9 for cut in cuts)


def moments_bytes(settings: Settings, d: int) -> int:
    """Bytes of the moments: a d x d float64 matrix per kind of row and pair in each group, and those of the permutation null."""
    return 8 * d * d * (own_products(settings) * n_groups(settings) + null_products(settings))


def own_products(settings: Settings) -> int:
    """Matrices in the moments of one group: products of rows with themselves, and of the two rows of a pair."""
    pairs, policy = settings.operators.pairs, settings.operators.position_policy
    sources, targets = {source for source, _ in pairs}, {target for _, target in pairs}
    if policy == "same":
        return len(sources | targets) + len(pairs)
    # Source rows are those that targets point to; with attention they differ from pair to pair.
    return (len(pairs) if policy.startswith(("attended", "shuffled")) else len(sources)) + len(targets) + len(pairs)


def null_products(settings: Settings) -> int:
    """The same for the permutation null, whose moments are kept for the whole train split only."""
    operators = settings.operators
    if not operators.permuted:
        return 0
    return sum(len({pair[end] for pair in operators.pairs}) for end in (0, 1)) + len(operators.pairs)


def kept_tokens(settings: Settings) -> int:
    """Tokens with kept residuals, if all sequences have full length."""
    collect = settings.collect
    return collect.n_tokens - (collect.n_tokens // collect.seq_len if collect.skip_first else 0)


def activation_bytes(settings: Settings, d: int) -> int:
    """Bytes of the activations table: float32 residuals with their keys, for every kept token and layer."""
    if not settings.collect.store_activations:
        return 0
    return kept_tokens(settings) * len(settings.layers) * (4 * d + ACTIVATION_KEYS)


def sae_widths(settings: Settings) -> dict[int, int]:
    """Layer -> number of features of its SAE; the default width if the name of a release does not say."""
    saes = settings.saes
    widths = dict.fromkeys([*saes.layers, *saes.paths], saes.d_sae)
    for layer, release in saes.releases.items():
        named = re.search(r"width_(\d+)([km])", release)
        if named:
            thousands = int(named[1]) * (1 if named[2] == "k" else 1000)
            widths[layer] = 2 ** round(math.log2(1000 * thousands))  # 131k is 2^17
        else:
            widths[layer] = 24_576 if release.startswith("gpt2-small-res-jb") else saes.d_sae
    return widths


def fitted_methods(settings: Settings) -> list[str]:
    """Methods that are not baselines: their operators are registered, and their spectra kept."""
    return [method for method in settings.operators.methods if not METHODS[method].baseline]


def causal_pairs(settings: Settings) -> list[tuple[int, int]]:
    """Pairs whose transported residuals are put back: as set; default: all that end at an SAE's layer."""
    if settings.causal.pairs is not None:
        return settings.causal.pairs
    widths = sae_widths(settings)
    return [(source, target) for source, target in settings.operators.pairs if target in widths]
