"""Small graphs for tests: made by hand, at random without cycles, and of linear toys whose truth is known."""

import numpy as np
import torch

from ato.graphs.graph import Graph
from ato.graphs.transport import Site
from ato.operators.operator import TransportOperator
from ato.saes.autoencoder import SparseAutoencoder


def graph_of(kinds, edges, **values):
    """A graph of nodes of some kinds, ``edges`` being (source, target, weight); other arrays by name."""
    n = len(kinds)
    source, target, weight = zip(*edges, strict=True) if edges else ((), (), ())
    arrays = {
        "layer": np.zeros(n, np.int64),
        "position": np.zeros(n, np.int64),
        "feature": np.arange(n),
        "activation": np.where(np.array(kinds) == "logit", 1.0, np.nan),
        "influence": np.full(n, np.nan),
        "total": np.full(n, np.nan),
    } | {name: np.asarray(value) for name, value in values.items() if name != "token_ids"}
    return Graph(
        token_ids=values.get("token_ids", (1, 5, 6)),
        kind=np.array(kinds, dtype="<U15"),
        source=np.array(source, np.int64),
        target=np.array(target, np.int64),
        weight=np.array(weight, np.float64),
        **arrays,
    )


def random_graph(seed=0, n_features=20, density=0.4):
    """Tokens, errors, constants, features and logits, with random edges from earlier nodes to later ones."""
    rng = np.random.default_rng(seed)
    kinds = ["token"] * 3 + ["constant"] + ["error"] * 3 + ["feature"] * n_features + ["logit"] * 2
    n = len(kinds)
    edges = [
        (i, j, rng.standard_normal())
        for j in range(7, n)
        for i in range(j)
        if kinds[i] != "logit" and rng.random() < density
    ]
    activation = np.array([np.nan] * 7 + list(rng.random(n_features)) + [0.6, 0.3])
    layer = np.array([-1] * 4 + [0, 1, 2] + [3 * i // n_features for i in range(n_features)] + [3, 3])
    position = np.array([0, 1, 2, 0, 0, 1, 2] + [i % 3 for i in range(n_features)] + [2, 2])
    feature = np.array([-1] * 7 + list(range(n_features)) + [40, 41])
    total = np.full(n, np.nan)
    for _, j, w in edges:
        total[j] = np.nan_to_num(total[j]) + w
    return graph_of(kinds, edges, activation=activation, layer=layer, position=position, feature=feature, total=total)


def sae_of(d_in, d_sae, seed, **values):
    """A random standard SAE whose features are active on about half of random residuals."""
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=rng)

    weights = {"W_enc": draw(d_in, d_sae), "b_enc": draw(d_sae), "W_dec": draw(d_sae, d_in), "b_dec": draw(d_in)}
    return SparseAutoencoder("standard", **(weights | values))


def sites_of(layers, n_tokens=5, widths=None, seed=0):
    """Layer -> site with a random SAE and random residuals."""
    widths = widths or {}
    rng = torch.Generator().manual_seed(seed)
    found = {}
    for layer in layers:
        d = widths.get(layer, 6)
        residual = torch.randn(n_tokens, d, generator=rng)
        found[layer] = Site(sae_of(d, 4 * d, seed + layer, apply_b_dec_to_input=layer % 2 == 0), residual)
    return found


def operator_of(source, target, d_in=6, d_out=6, seed=0):
    """A random operator."""
    rng = np.random.default_rng(seed)
    return TransportOperator(
        rng.standard_normal((d_out, d_in)),
        rng.standard_normal(d_out),
        "ridge",
        source_layer=source,
        target_layer=target,
    )


def linear_toy(n_tokens=4, d=5):
    """Sites of layers 0, 1 and 2 with y = T x + b exactly, SAEs that reconstruct exactly, and the two operators.

    Each SAE has the features x_i and -x_i, so that relu keeps one of each and their sum is x.
    """
    eye = torch.eye(d)
    sae = SparseAutoencoder(
        "standard",
        W_enc=torch.cat([eye, -eye], dim=1),
        b_enc=torch.zeros(2 * d),
        W_dec=torch.cat([eye, -eye]),
        b_dec=torch.zeros(d),
    )
    operators = [operator_of(0, 1, d, d, seed=1), operator_of(1, 2, d, d, seed=2)]
    # Multiples of 1/8 are exact in float32 all the way.
    operators = [
        TransportOperator(
            np.round(o.matrix * 4) / 4,
            np.round(o.bias * 4) / 4,
            o.method,
            source_layer=o.source_layer,
            target_layer=o.target_layer,
        )
        for o in operators
    ]
    x = torch.round(torch.randn(n_tokens, d, generator=torch.Generator().manual_seed(3)) * 4) / 4
    residuals = [x.double()]
    for operator in operators:
        residuals.append(operator(residuals[-1]))
    return {layer: Site(sae, residual.float()) for layer, residual in enumerate(residuals)}, operators
