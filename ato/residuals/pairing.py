"""Source tokens beside target tokens: by a position policy, or of another document as the position-matched null.

A source whose blocks hold x and y of the same token becomes one whose rows are target tokens y beside the x that a
policy chooses, under keys of their own; every statistic then works on it as on any other.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ato.errors import DataError, InputError, LayerError
from ato.numerics.counter_rng import uniforms
from ato.numerics.validation import as_float_tensor
from ato.residuals.blocks import ResidualBlock, ResidualSource, check_finite
from ato.residuals.position_policies import (
    Layer,
    PositionPolicy,
    SourceKey,
    parse_policy,
    permuted_key,
    source_key,
)
from ato.residuals.token_index import TokenIndex
from ato.text.splits import group_names

_ENOUGH_ROWS = 4096
"""Smaller blocks are joined before documents are shuffled: a batch of the running model holds two or three."""


@dataclass(frozen=True)
class _Chosen:
    """The source tokens of n tokens."""

    rows: np.ndarray
    """[n, k] row numbers in the block; -1 for none."""
    weights: np.ndarray
    """[n, k] float32, not normalised; 0 for none."""

    def gather(self, x: torch.Tensor, tokens: np.ndarray) -> torch.Tensor:
        """Weighted mean [m, d] of the sources of some tokens (indices [m]), each of which has one."""
        rows = torch.from_numpy(self.rows[tokens]).to(x.device)
        if rows.shape[1] == 1:
            return x.index_select(0, rows[:, 0])
        weights = torch.from_numpy(self.weights[tokens]).to(x)
        weights /= weights.sum(1, keepdim=True)
        return torch.nn.functional.embedding_bag(rows.clamp(min=0), x, mode="sum", per_sample_weights=weights)


class _Matched:
    """A residual source whose blocks hold target rows of another source beside the source rows they are matched with.

    Args:
        source: whose blocks it reads.
        inputs: key that source rows are handed out under -> layer or key that they are read from; other layers are
            targets and keep theirs.
        targets: layers of the target rows.
    """

    _cure = "collect longer sequences, or choose another position policy"

    def __init__(self, source: ResidualSource, inputs: dict[Layer, Layer], targets: Collection[int]):
        self.d_model, self.n_folds = source.d_model, source.n_folds
        self.layers: tuple[Layer, ...] = tuple(sorted({*targets, *inputs}))
        self.unpaired: Counter[str] = Counter()
        """Split -> target tokens without a source token, as of the latest whole pass over that split."""
        self._source, self._inputs = source, inputs

    def _make(self, block: ResidualBlock, wanted: Sequence[Layer]) -> ResidualBlock:
        raise NotImplementedError

    def pair(self, block: ResidualBlock) -> ResidualBlock:
        """The paired rows of one block of the source, for a consumer that shares the pass over it with others."""
        return self._make(block, self.layers)

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """Blocks of target tokens; layers are target layers and keys.

        Raises:
            LayerError: a layer or key of no pair, or attention that was not collected.
            DataError: after the pass, if no target token had a source token.
        """
        wanted = self.layers if layers is None else tuple(layers)
        if missing := sorted(set(wanted) - set(self.layers)):
            cure = f"choose from {', '.join(map(str, self.layers))}"
            raise LayerError(f"layers {', '.join(map(str, missing))} are in no pair", cure=cure)
        return self._pass(wanted, splits)

    def _read(self, layers: Sequence[Layer], splits: Collection[str] | None) -> Iterator[ResidualBlock]:
        return self._source.blocks(layers, splits)

    def _pass(self, wanted: Sequence[Layer], splits: Collection[str] | None) -> Iterator[ResidualBlock]:
        read = sorted({self._inputs.get(layer, layer) for layer in wanted})
        seen, kept = Counter[str](), Counter[str]()
        for block in self._read(read, splits):
            check_finite(block)  # while layers still have their own numbers
            made = self._make(block, wanted)
            seen += self._by_split(block)
            kept += self._by_split(made)
            if made.n:
                yield made
        if seen and not kept:
            raise DataError("no token has a source token", where=str(self), cure=self._cure)
        for split in seen:
            self.unpaired[split] = seen[split] - kept[split]

    def _by_split(self, block: ResidualBlock) -> Counter[str]:
        counts = np.bincount(block.group, minlength=self.n_folds + 2)
        names = group_names(self.n_folds)
        return sum((Counter({name.split("-")[0]: int(n)}) for name, n in zip(names, counts) if n), Counter[str]())


class PairedSource(_Matched):
    """Target tokens beside the source tokens that a position policy chooses.

    A block has the rows of the target tokens that have a source token for every pair, with their own keys: residuals
    {target layer: y, source_key(source layer, target layer, policy): x}. Several pairs share it in one pass. Under
    ``same`` the blocks are those of the source itself, restricted to the layers of the pairs.

    Args:
        source: of tokens; a sequence never spans two blocks, and its dropped tokens are never sources.
        pairs: (source layer, target layer).
        policy: see ``parse_policy``.
        seed: of the control ``shuffled``; a draw depends on seed, sequence and position alone.

    Raises:
        SettingsError: unknown policy.
    """

    def __init__(
        self, source: ResidualSource, pairs: Sequence[tuple[int, int]], policy: PositionPolicy | str, *, seed: int = 0
    ):
        self.policy = parse_policy(policy) if isinstance(policy, str) else policy
        self.pairs, self.seed = tuple(pairs), seed
        inputs: dict[Layer, Layer] = {source_key(a, b, self.policy): a for a, b in self.pairs}
        super().__init__(source, inputs, {target for _, target in self.pairs})

    def __str__(self) -> str:
        return f"position policy {self.policy.name}"

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """As in every residual source; see the class."""
        if self.policy.kind == "same":
            return self._source.blocks(self.layers if layers is None else layers, splits)
        return super().blocks(layers, splits)

    def _make(self, block: ResidualBlock, wanted: Sequence[Layer]) -> ResidualBlock:
        if self.policy.kind == "same":
            return block.at(wanted)
        chosen = self._choose(block)
        # Over all pairs, whatever layers are asked for: the same tokens on every pass.
        paired = np.logical_and.reduce([(c.rows >= 0).any(axis=1) for c in chosen.values()])
        tokens = np.flatnonzero(paired)
        targets = block.at([layer for layer in wanted if not isinstance(layer, SourceKey)])
        made = targets if paired.all() else targets.select(paired)
        residuals = dict(made.residuals)
        for key in wanted:
            if isinstance(key, SourceKey):
                residuals[key] = chosen[key.target].gather(block.residuals[key.source], tokens)
        return replace(made, residuals=residuals)

    def _choose(self, block: ResidualBlock) -> dict[int | None, _Chosen]:
        """Target layer, or None where one choice serves them all, -> the source tokens of all rows."""
        index = TokenIndex(block.sequence_id, block.position)
        if not self.policy.needs_attention:
            rows = index.rows(block.sequence_id, block.position - self.policy.offset)[:, None]
            return {None: _Chosen(rows, np.ones(rows.shape, dtype=np.float32))}
        targets = sorted({target for _, target in self.pairs})
        if missing := [target for target in targets if target not in block.attended]:
            layers = ",".join(map(str, targets))
            cure = f"collect with --set collect.attention_layers=[{layers}] --set model.attention=eager"
            raise LayerError(f"attention of blocks {missing} was not collected", where=str(self), cure=cure)
        return {target: self._attended(block, target, index) for target in targets}

    def _attended(self, block: ResidualBlock, target: int, index: TokenIndex) -> _Chosen:
        attended = block.attended[target].top(self.policy.k)
        rows = index.rows(block.sequence_id[:, None], attended.positions)
        rows = np.where(attended.weights > 0, rows, -1)
        weights = np.where(rows >= 0, attended.weights, np.float32(0))
        if self.policy.kind == "shuffled":
            rows = np.where(rows >= 0, self._draw(block, index, rows.shape[1]), -1)
        return _Chosen(rows, weights)

    def _draw(self, block: ResidualBlock, index: TokenIndex, k: int) -> np.ndarray:
        """[n, k] rows drawn without replacement among the tokens of the same sequence up to the token itself."""
        order, start, count = index.up_to_each()
        slots = np.arange(k)
        u = uniforms(self.seed, block.sequence_id[:, None], block.position[:, None], slots)
        picks = np.empty(u.shape, dtype=np.int64)
        for slot in slots:
            # An ordered draw: the r-th of the places that are left, found by stepping over the taken ones in order.
            picks[:, slot] = np.floor(u[:, slot] * np.maximum(count - slot, 1)).astype(np.int64)
            for taken in np.sort(picks[:, :slot], axis=1).T:
                picks[:, slot] += picks[:, slot] >= taken
        # Beyond the last of few places there is nothing left to draw; no attended position asks for it either.
        drawn: np.ndarray = order[(start[:, None] + picks).clip(max=len(order) - 1)]
        return drawn


class PermutedSource(_Matched):
    """Target tokens beside the source tokens of another document at the same position: what position alone explains.

    This is the position-matched permutation null. In each block (small ones are joined) the sequences of a split,
    ordered by document, are rotated by the largest number that one document has: each is matched with one of another
    document, and none is used twice. Tokens without a partner (the partner is shorter, its token was dropped, or one
    document has most of the block) are dropped and counted. Train folds mix; splits do not. Rows are
    {target layer: y, permuted_key(source layer): x} with the keys of the target token.

    Args:
        source: of tokens; it may be a ``PairedSource``, whose keys then stand for source layers.
        pairs: (source layer or key, target layer).
        seed: of the order of the documents.
    """

    _cure = "collect more documents, or more sequences a shard"

    def __init__(self, source: ResidualSource, pairs: Sequence[tuple[Layer, int]], *, seed: int = 0):
        self.pairs, self.seed = tuple(pairs), seed
        super().__init__(source, {permuted_key(a): a for a, _ in self.pairs}, {b for _, b in self.pairs})

    def __str__(self) -> str:
        return "documents shuffled, positions kept"

    def _read(self, layers: Sequence[Layer], splits: Collection[str] | None) -> Iterator[ResidualBlock]:
        """The source's blocks, small ones joined within their split, so that a pass over one split joins them alike."""
        waiting: list[ResidualBlock] = []
        for block in super()._read(layers, splits):
            if waiting and self._by_split(waiting[-1]).keys() != self._by_split(block).keys():
                yield ResidualBlock.join(waiting)
                waiting = []
            waiting.append(block)
            if sum(b.n for b in waiting) >= _ENOUGH_ROWS:
                yield ResidualBlock.join(waiting)
                waiting = []
        if waiting:
            yield ResidualBlock.join(waiting)

    def matched(self, block: ResidualBlock) -> tuple[np.ndarray, np.ndarray]:
        """Rows [m] of the block that have a partner, and the rows [m] of their partners."""
        partner = self._partners(block)
        rows = TokenIndex(block.sequence_id, block.position).rows(partner, block.position)
        targets = np.flatnonzero((partner >= 0) & (rows >= 0))
        return targets, rows[targets]

    def _make(self, block: ResidualBlock, wanted: Sequence[Layer]) -> ResidualBlock:
        tokens, partners = self.matched(block)
        matched = np.zeros(block.n, dtype=bool)
        matched[tokens] = True
        made = block.at([layer for layer in wanted if layer not in self._inputs]).select(matched)
        index = torch.from_numpy(partners)
        sources = {key: block.residuals[self._inputs[key]] for key in wanted if key in self._inputs}
        x = {key: value.index_select(0, index.to(value.device)) for key, value in sources.items()}
        return replace(made, residuals=made.residuals | x)

    def _partners(self, block: ResidualBlock) -> np.ndarray:
        """[n] the sequence of another document that each token's sequence is matched with; -1 where there is none."""
        sequences, first, inverse = np.unique(block.sequence_id, return_index=True, return_inverse=True)
        document, split = block.document[first], np.maximum(block.group[first], self.n_folds - 1)
        partner = np.full(len(sequences), -1, dtype=np.int64)
        for one in np.unique(split):
            members = np.flatnonzero(split == one)
            order = members[np.lexsort((document[members], uniforms(self.seed, document[members])))]
            _, sizes = np.unique(document[order], return_counts=True)
            other = np.roll(order, -sizes.max())
            apart = document[other] != document[order]
            partner[order[apart]] = sequences[other[apart]]
        return partner[inverse]


def pair_rows(
    x: torch.Tensor | ResidualBlock,
    y: torch.Tensor | None,
    document: np.ndarray | None,
    source_layer: Layer | None,
    target_layer: int | None,
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Source rows, target rows and document numbers, given as such or as a block that holds both layers.

    Raises:
        InputError: rows without targets or documents, unequal numbers of rows, or a block where the layers are
            not known.
    """
    if isinstance(x, ResidualBlock):
        if source_layer is None or target_layer is None:
            raise InputError("block given without its layers", cure="pass x, y and document")
        return x.residuals[source_layer], x.residuals[target_layer], x.document
    if y is None or document is None or not len(x) == len(y) == len(document):
        raise InputError("x, y and document must have one row per token", cure="pass [n, d_in], [n, d_out] and [n]")
    return as_float_tensor(x), as_float_tensor(y), np.asarray(document)
