"""Ablations of features at a source layer, as fates count them: the ablated token alone, against its whole sequence.

The reference moves the same tokens along the same directions and runs every token of the sequence through the blocks
between the layers, an ablation a pass, from residuals that are there already. Both must find the same changes.
"""

import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from ato.causal.source_ablation import DIRECTIONS, PULLBACK, SourceLayer, source_ablations
from ato.models import LanguageModel, pad
from ato.operators import TransportOperator
from ato.saes import SparseAutoencoder
from benchmarks.causal import random_text
from benchmarks.graphs import SHAPE
from benchmarks.measurement import Measurement, plain, speedup
from benchmarks.program import run
from benchmarks.shaped_model import SMALL, shaped_model
from benchmarks.timing import side_by_side

LARGEST_DIFFERENCE = 1e-2
"""Of a feature's root mean square change, relative: the changes are small differences of float32 residuals."""
N_ACTIVE = 8
"""Tokens on which an ablated feature is active, about."""
MEASURED = len(DIRECTIONS) - 1
"""Directions along which something is taken out here; ``matched`` needs an SAE at the source."""


def measure(quick: bool) -> Iterator[Measurement]:
    """Seconds of an ablation."""
    model = shaped_model(SMALL if quick else SHAPE, device="cpu", dtype="float32")
    source, target = (1, 3) if quick else (8, 12)
    ids, lengths = pad([q.token_ids for q in random_text(model, 1 if quick else 2)])
    streams = model.residuals(ids, lengths, [source, target])
    sae = random_sae(streams[target].flatten(0, 1), 256 if quick else 1_024)
    rng = np.random.default_rng(0)
    matrix = np.eye(model.d_model) + rng.normal(0, 0.1 / model.d_model**0.5, (model.d_model,) * 2)
    operator = TransportOperator(matrix, np.zeros(model.d_model), "ridge", source, target)
    active = sae.encode(streams[target].flatten(0, 1)).unflatten(0, ids.shape)[:, 1:] > 0
    features = (active.sum((0, 1)) - N_ACTIVE).abs().argsort(stable=True)[: 2 if quick else 4].tolist()
    text = random_text(model, len(ids))
    ours = partial(
        source_ablations, model, (target, sae, features), {source: SourceLayer(operator)}, text, n_tokens=ids.shape[1]
    )
    places = [(f, *place) for f in features for place in (active[..., f].nonzero() + torch.tensor([0, 1])).tolist()]
    whole = partial(by_sequence, model, streams, lengths, sae, operator, places)
    agree(ours()[source][PULLBACK].measured, whole(), places)
    taken, reference = side_by_side(ours, whole, rounds=1 if quick else 3)
    n = MEASURED * len(places)
    what = f"an ablation at layer {source}, read at {target}, sequences of {ids.shape[1]} tokens, d = {model.d_model}"
    against = f"all tokens of the sequence run again ({len(places)} ablations)"
    yield speedup(what, taken / n, against, reference / len(places))
    yield plain(f"ablations with their measured changes, {n:,} of {len(features)} features", "1/s", n / taken)


def random_sae(rows: torch.Tensor, width: int, k: int = 16) -> SparseAutoencoder:
    """A TopK SAE of random directions around the mean of rows [n, d]."""
    directions = torch.nn.functional.normalize(
        torch.randn(width, rows.shape[1], generator=torch.Generator().manual_seed(0))
    )
    return SparseAutoencoder(
        "topk", directions.T.contiguous(), torch.zeros(width), directions, rows.mean(0).float(), k=k
    )


def by_sequence(
    model: LanguageModel,
    streams: dict[int, torch.Tensor],
    lengths: torch.Tensor,
    sae: SparseAutoencoder,
    operator: TransportOperator,
    places: list[tuple[int, int, int]],
) -> np.ndarray:
    """[places] change of each (feature, sequence, position)'s projection after its token was moved along the pull-back."""
    source, target = operator.source_layer, operator.target_layer
    ids = torch.zeros(1, streams[source].shape[1], dtype=torch.long)
    found = []
    with torch.inference_mode():
        for feature, sequence, position in places:
            u = sae.decoder_directions[feature].double()
            pulled = u @ torch.from_numpy(operator.matrix)
            stream, unit = streams[source][sequence].clone(), pulled / pulled.norm()
            x = stream[position].double()
            stream[position] = (x - (x @ unit) * unit).float()
            edited = model.run_padded(
                ids, lengths[sequence][None], start=(source, stream[None]), stop=target, read=[target]
            ).residuals[target]
            found.append(float((edited[0, position].double() - streams[target][sequence, position].double()) @ u))
    return np.array(found)


def agree(ours: np.ndarray, changes: np.ndarray, places: list[tuple[int, int, int]]) -> None:
    """Refuse changes that differ from those of whole sequences."""
    feature = np.array([f for f, *_ in places])
    theirs = [np.sqrt(np.mean(changes[feature == f] ** 2)) for f in dict.fromkeys(feature.tolist())]
    apart = float(np.abs(ours / np.array(theirs) - 1).max())
    assert apart < LARGEST_DIFFERENCE, f"changes differ from those of whole sequences by {apart:.1e}"


if __name__ == "__main__":
    sys.exit(run("fates", measure, __doc__))
