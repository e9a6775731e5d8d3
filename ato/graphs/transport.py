"""Transport graphs: the pre-activations of features as sums over the features that an operator carries to them.

For a target feature t at layer k and an operator y = T x + b from layer l at the same position, with the SAE at l
writing x = sum_j a_j d_j + b_dec + eps:

    e_t . y + c_t  =  sum_j a_j e_t . (T d_j)        features
                   +  e_t . (T eps)                  SAE error
                   +  e_t . (y - T x - b)            transport error
                   +  e_t . (T b_dec + b) + c_t      constant

where e_t is the encoder column of t and c_t its bias (less e_t . b_dec' where the SAE at k subtracts its own b_dec').
The left side is the pre-activation of t on the true residual, so the transport error is what was *not* carried.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ato.errors import InputError, MismatchError
from ato.graphs.graph import Graph
from ato.operators.operator import TransportOperator
from ato.saes.autoencoder import SparseAutoencoder


@dataclass(frozen=True)
class Site:
    """The residual stream of a prompt after one block, and the SAE that reads it."""

    sae: SparseAutoencoder
    residual: torch.Tensor
    """[n_tokens, d_in]."""


@dataclass(frozen=True)
class _Encoded:
    """A site in float64: its active features, ordered by position, and what they leave out."""

    position: np.ndarray
    feature: np.ndarray
    activation: np.ndarray
    residual: np.ndarray
    error: np.ndarray
    encoder: torch.Tensor
    decoder: torch.Tensor
    b_enc: np.ndarray
    b_dec: np.ndarray
    b_subtracted: np.ndarray
    """[d_in]: b_dec where the SAE subtracts it from its input, else 0."""

    def at(self, position: int) -> slice:
        first, last = np.searchsorted(self.position, [position, position + 1])
        return slice(int(first), int(last))


@dataclass
class _Nodes:
    """Nodes as they are added, with the edges into them."""

    n: int = 0
    columns: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    edges: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    totals: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def add(
        self,
        kind: str,
        layer: int,
        position: np.ndarray,
        feature: np.ndarray | int = -1,
        activation: np.ndarray | float = np.nan,
    ) -> np.ndarray:
        """Indices of new nodes, one a position."""
        values = np.full(len(position), kind, dtype="<U15"), layer, position, feature, activation
        self.columns.append(tuple(np.broadcast_to(value, len(position)) for value in values))
        self.n += len(position)
        return np.arange(self.n - len(position), self.n)

    def join(self, sources: np.ndarray, targets: np.ndarray, weights: np.ndarray, totals: np.ndarray) -> None:
        """Edges from each source to each target, with weights [sources, targets], and what they must sum to."""
        pairs = np.meshgrid(sources, targets, indexing="ij")
        self.edges.append((pairs[0].ravel(), pairs[1].ravel(), weights.ravel()))
        self.totals.append((targets, totals))

    def graph(self, token_ids: Sequence[int]) -> Graph:
        """All of it."""
        kind, layer, position, feature, activation = map(np.concatenate, zip(*self.columns, strict=True))
        none = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        source, target, weight = map(np.concatenate, zip(none, *self.edges, strict=True))
        total = np.full(self.n, np.nan)
        for node, value in self.totals:
            total[node] = value
        return Graph(
            tuple(map(int, token_ids)),
            kind,
            layer,
            position,
            feature,
            activation,
            np.full(self.n, np.nan),
            source,
            target,
            weight,
            total,
        )


def transport_graph(
    sites: Mapping[int, Site],
    operators: Iterable[TransportOperator],
    token_ids: Sequence[int],
    positions: Sequence[int] | None = None,
) -> Graph:
    """Every active feature of the sites, with the edges that operators between their layers give.

    Computed in float64 from the activations as the SAEs give them. Features of layers that no operator reaches are
    leaves. Nodes: a constant for each position, then by layer its features by position, SAE errors, transport errors.

    Args:
        sites: layer -> site.
        operators: at most one into each layer.
        token_ids: [n_tokens] of the prompt, BOS included.
        positions: those of interest; None for all.

    Raises:
        InputError: a layer without a site, two operators into one layer, a residual of another length, or a position
            beyond the prompt.
        MismatchError: an operator or a residual of another width than the SAE.
        SAEError: an SAE that reads another layer, or no residual stream.
    """
    into = _by_target(operators, sites)
    chosen = _positions(positions, len(token_ids))
    layers = sorted({layer for target, (source, _) in into.items() for layer in (source, target)})
    encoded = {layer: _encode(layer, sites[layer], len(token_ids), chosen) for layer in layers}
    nodes = _Nodes()
    constants = nodes.add("constant", -1, chosen)
    features: dict[int, np.ndarray] = {}
    errors: dict[int, np.ndarray] = {}
    for layer, site in encoded.items():
        features[layer] = nodes.add("feature", layer, site.position, site.feature, site.activation)
        errors[layer] = nodes.add("error", layer, chosen)
        if layer not in into:
            continue
        below, operator = into[layer]
        missed = nodes.add("transport_error", layer, chosen)
        for i, position in enumerate(chosen.tolist()):
            here, there = encoded[below].at(position), site.at(position)
            weights, totals = _contributions(operator, encoded[below], site, position)
            rest = [errors[below][i], constants[i], missed[i]]
            nodes.join(np.concatenate([features[below][here], rest]), features[layer][there], weights, totals)
    return nodes.graph(token_ids)


def _contributions(
    operator: TransportOperator, source: _Encoded, target: _Encoded, position: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of one position: weights [sources + 3, targets] of features, SAE error, constant and transport error; totals."""
    here, there = source.at(position), target.at(position)
    written = source.decoder[source.feature[here]].double().numpy() * source.activation[here, None]
    x, y = source.residual[position], target.residual[position]
    carried = np.vstack([written, source.error[position], source.b_dec]) @ operator.matrix.T
    carried[-1] += operator.bias - target.b_subtracted
    encoder = target.encoder[:, target.feature[there]].double().numpy()
    weights = np.vstack([carried, y - operator(x)]) @ encoder
    weights[-2] += target.b_enc[target.feature[there]]
    return weights, (y - target.b_subtracted) @ encoder + target.b_enc[target.feature[there]]


def _by_target(
    operators: Iterable[TransportOperator], sites: Mapping[int, Site]
) -> dict[int, tuple[int, TransportOperator]]:
    """Target layer -> the source layer and the operator."""
    into: dict[int, tuple[int, TransportOperator]] = {}
    for operator in operators:
        source, target = operator.source_layer, operator.target_layer
        if source is None or target is None or source >= target:
            raise InputError(
                f"an operator from layer {source} to layer {target}", cure="give operators from a layer to a later one"
            )
        for layer, width in ((source, operator.d_in), (target, operator.d_out)):
            if layer not in sites:
                raise InputError(f"layer {layer} has an operator and no SAE", cure="give an SAE of that layer")
            if sites[layer].sae.d_in != width:
                raise MismatchError(
                    f"the operator has width {width} at layer {layer}, the SAE there {sites[layer].sae.d_in}",
                    cure="use an operator and an SAE of one model",
                )
        if target in into:
            raise InputError(
                f"two operators lead into layer {target}",
                cure="give one a target layer: with two, the sum would count its features twice",
            )
        into[target] = source, operator
    if not into:
        raise InputError("a transport graph needs an operator", cure="give one between two layers that have SAEs")
    return into


def _positions(positions: Sequence[int] | None, n_tokens: int) -> np.ndarray:
    chosen = np.arange(n_tokens) if positions is None else np.unique(np.asarray(positions, dtype=np.int64))
    if len(chosen) and not (chosen[0] >= 0 and chosen[-1] < n_tokens):
        raise InputError(f"a position is beyond the prompt of {n_tokens} tokens", cure=f"choose 0 to {n_tokens - 1}")
    return chosen


def _encode(layer: int, site: Site, n_tokens: int, positions: np.ndarray) -> _Encoded:
    """The site's active features at some positions; residuals and errors at all."""
    sae, residual = site.sae, site.residual
    sae.check_place("resid_post", layer)
    if residual.ndim != 2 or len(residual) != n_tokens:
        raise InputError(
            f"residuals of shape {list(residual.shape)} for a prompt of {n_tokens} tokens",
            where=f"layer {layer}",
            cure="give the row of each token",
        )
    active = sae.active(residual)
    x = residual.detach().cpu().double().numpy()
    token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
    value = active.value.detach().cpu().double().numpy()
    decoder, b_dec = sae.W_dec.detach().cpu(), sae.b_dec.detach().cpu().double().numpy()
    written = [decoder[feature[a:b]].double().numpy().T @ value[a:b] for a, b in _runs(token, n_tokens)]
    error = x - np.stack(written) - b_dec if n_tokens else x
    kept = np.isin(token, positions)
    return _Encoded(
        token[kept],
        feature[kept],
        value[kept],
        x,
        error,
        sae.W_enc.detach().cpu(),
        decoder,
        sae.b_enc.detach().cpu().double().numpy(),
        b_dec,
        b_dec if sae.apply_b_dec_to_input else np.zeros_like(b_dec),
    )


def _runs(token: np.ndarray, n_tokens: int) -> list[tuple[int, int]]:
    """Where each token's features begin and end."""
    cuts = np.searchsorted(token, np.arange(n_tokens + 1))
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
