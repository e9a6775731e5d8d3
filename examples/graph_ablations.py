"""Does a feature that a graph names do what the graph says, in other texts? It is ablated at a token in many documents.

One place a document: the first at which a token precedes another. Without the feature, without a random direction of its
length, and without other features that are active there, the second token's logit falls by so much (less the mean logit;
intervals by resampling documents). Run where a study's warehouse is, with the study's settings:

    python -m examples.graph_ablations 24 524 " United" " States" --profile demo-graphs --set saes.layers=[12,16,20,24,28]
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ato.models import LanguageModel
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.files import load_sae

BEFORE, N_DOCUMENTS, N_RANDOM, N_OTHERS = 40, 32, 3, 2
"""Tokens that are read at most, documents, random directions and other features (nearest in length) of each."""
NAMES = ("feature", "random direction", "other features")


def places(sequences: Sequence[tuple[str, Sequence[int]]], token: int, following: int) -> Iterator[list[int]]:
    """Tokens up to and with the first ``token`` of each document that ``following`` comes after."""
    seen = set()
    for document, ids in sequences:
        at = next((i for i in range(8, len(ids) - 1) if (ids[i], ids[i + 1]) == (token, following)), None)
        if at is not None and document not in seen:
            seen.add(document)
            yield list(ids[max(at + 1 - BEFORE, 0) : at + 1])


@torch.no_grad()
def falls(
    model: LanguageModel, sae: SparseAutoencoder, layer: int, feature: int, ids: list[int], following: int, seed: int
) -> list[float] | None:
    """Falls of the logit (``NAMES``), then the token's probability with and without the feature; None if it is not active."""
    base = model.forward(torch.tensor([ids]), None, read=[layer])
    active = sae.active(base.residuals[layer][0])
    here = active.token == len(ids) - 1
    written = sae.W_dec[active.feature[here]] * active.value[here][:, None]
    own = active.feature[here] == feature
    if not own.any():
        return None
    vector, others = written[own][0], written[~own]
    near = others[(others.norm(dim=1) - vector.norm()).abs().argsort()[:N_OTHERS]]
    drawn = torch.randn(N_RANDOM, len(vector), generator=torch.Generator().manual_seed(seed))
    removed = torch.cat([vector[None], drawn / drawn.norm(dim=1, keepdim=True) * vector.norm(), near])

    def without(value: Tensor) -> Tensor:
        value = value.clone()
        value[:, -1] -= removed
        return value

    changed = model.forward(torch.tensor([ids]).expand(len(removed), -1), None, edits={layer: without})
    logits = model.logits(torch.cat([base.hidden[:, -1], changed.hidden[:, -1]])).double()
    centred = logits[:, following] - logits.mean(1)
    fall = (centred[0] - centred[1:]).numpy()
    share = torch.softmax(logits[:2], 1)[:, following].tolist()
    return [fall[0], fall[1 : 1 + N_RANDOM].mean(), fall[1 + N_RANDOM :].mean(), *share]


def main() -> None:
    """Print a row a kind of ablation."""
    from flows.settings import load_settings
    from tasks.graphs.making import model_in
    from warehouse.catalog.catalog import rows
    from warehouse.storage.warehouse import Warehouse

    parser = argparse.ArgumentParser(prog="python -m examples.graph_ablations", description=__doc__.splitlines()[0])
    parser.add_argument("layer", type=int)
    parser.add_argument("feature", type=int)
    parser.add_argument("token")
    parser.add_argument("following")
    parser.add_argument("--profile", default="demo-graphs")
    parser.add_argument("--set", nargs="*", default=[])
    given = parser.parse_args()
    model = model_in(load_settings(given.profile, given.set).model, "float32")
    token, following = (model.tokenizer(text)["input_ids"][0] for text in (given.token, given.following))
    (path,) = rows(None, "select path from saes where layer = ?", [given.layer])
    sae = load_sae(Warehouse().artifact_path(*path["path"].split("/")[1:]))
    found = rows(None, "select document_id, token_ids from sequences order by sequence_id")
    sequences = [(row["document_id"], row["token_ids"]) for row in found]
    prompts = list(places(sequences, token, following))[:N_DOCUMENTS]
    effects = [falls(model, sae, given.layer, given.feature, ids, following, seed) for seed, ids in enumerate(prompts)]
    known = np.array([effect for effect in effects if effect is not None])
    print(f"active in {len(known)} of {len(prompts)} documents")
    drawn = np.random.default_rng(0).integers(len(known), size=(5000, len(known)))
    for name, values in zip((*NAMES, "probability", "without the feature"), known.T, strict=True):
        low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
        print(f"{name:20} {values.mean():6.2f} [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
