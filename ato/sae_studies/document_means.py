"""Mean activations and mean residuals of chosen documents, streamed: what probes on labels of documents are fitted on.

No matrix of texts x tokens x features is ever made: activations are added up, document by feature, as they come.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array

from ato.errors import InputError, MismatchError
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

MAX_DOCUMENTS = 4000
"""Documents that may be chosen: 16 bytes x documents x features that fire there, at most 0.5 GB for 8,192 features."""


def balanced_documents(labels: Sequence[str | None], limit: int = MAX_DOCUMENTS, seed: int = 0) -> np.ndarray:
    """Numbers [m] int64, ascending, of at most ``limit`` labelled documents, equally many of each label as far as they reach.

    Args:
        labels: [n], None for documents without one.
        limit: documents at most.
        seed: of the choice within a label.
    """
    known = np.flatnonzero([label is not None for label in labels])
    shuffled = known[np.random.default_rng(seed).permutation(len(known))]
    of_label: dict[str | None, int] = {}
    turn = np.zeros(len(shuffled), dtype=np.int64)  # the how-manieth of its label a document is
    for place, number in enumerate(shuffled):
        turn[place] = of_label[labels[number]] = of_label.get(labels[number], -1) + 1
    return np.sort(shuffled[np.argsort(turn, kind="stable")][:limit])


def labels_of_seen(labels: Sequence[str | None], n_tokens: np.ndarray) -> list[str | None]:
    """The labels, None for documents of which no token was seen: a mean over nothing must not be judged.

    Args:
        labels: [m].
        n_tokens: [m], see ``DocumentActivations.n_tokens``.
    """
    return [label if n else None for label, n in zip(labels, n_tokens, strict=True)]


class _Rows:
    """The row of each chosen document."""

    def __init__(self, documents: np.ndarray):
        documents = np.asarray(documents, dtype=np.int64)
        if len(np.unique(documents)) != len(documents) or documents.ndim != 1:
            raise InputError("documents to average over must be distinct numbers [m]", cure="name each once")
        if len(documents) > MAX_DOCUMENTS:
            raise InputError(
                f"{len(documents):,} documents are more than {MAX_DOCUMENTS:,}", cure="choose some: balanced_documents"
            )
        self.documents, self._order = documents, np.argsort(documents)
        self._sorted = documents[self._order]

    def of(self, document: np.ndarray) -> np.ndarray:
        """[n] row of each token's document; -1 for documents that were not chosen."""
        if not len(self._sorted):
            return np.full(len(document), -1)
        place = np.searchsorted(self._sorted, document).clip(max=len(self._sorted) - 1)
        return np.where(self._sorted[place] == document, self._order[place], -1)


class DocumentActivations:
    """Mean activation of every feature in each of some documents, an ``ato.saes.SAEConsumer``; streams add up.

    Memory is 16 bytes x documents x features that fire there, twice and for a moment four times that, whatever the
    number of tokens.

    Args:
        sae: the SAE.
        layer: layer whose residuals it reads.
        documents: [m] distinct numbers of the documents, at most ``MAX_DOCUMENTS``; tokens of others are passed over.

    Raises:
        InputError: too many documents, or one twice.
    """

    def __init__(self, sae: SparseAutoencoder, layer: int, documents: np.ndarray):
        self._sae, self._layer, self._rows = sae, layer, _Rows(documents)
        self._shape = (len(self._rows.documents), sae.d_sae)
        self._n_tokens = np.zeros(self._shape[0], dtype=np.int64)
        self._sums, self._new, self._n_new = csr_array(self._shape), list[csr_array](), 0

    @property
    def documents(self) -> np.ndarray:
        """[m] their numbers, in the order of the rows."""
        return self._rows.documents

    @property
    def n_held(self) -> int:
        """Sums held at the moment."""
        return int(self._sums.nnz) + self._n_new

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "DocumentActivations":
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        row = self._rows.of(block.document)
        if not (row >= 0).any():
            return self
        active = self._sae.active(block.residuals[self._layer]) if active is None else active
        self._n_tokens += np.bincount(row[row >= 0], minlength=self._shape[0])
        own, feature = row[active.token.cpu().numpy()], active.feature.cpu().numpy()
        chosen = own >= 0
        value = active.value.cpu().numpy().astype(np.float64)
        self._add(csr_array(coo_array((value[chosen], (own[chosen], feature[chosen])), shape=self._shape)))
        return self

    def _add(self, sums: csr_array) -> None:
        """Sums of a block wait until there are as many as are summed already: the cost of adding stays linear."""
        self._new.append(sums)
        self._n_new += int(sums.nnz)
        if self._n_new > self._sums.nnz:
            self._settle()

    def _settle(self) -> None:
        if self._new:
            parts = [part.tocoo() for part in (self._sums, *self._new)]
            row, column = (np.concatenate([part.coords[axis] for part in parts]) for axis in (0, 1))
            value = np.concatenate([part.data for part in parts])
            self._sums = csr_array(coo_array((value, (row, column)), shape=self._shape))  # equal places add up
        self._new, self._n_new = [], 0

    def __add__(self, other: "DocumentActivations") -> "DocumentActivations":
        """Means over both streams.

        Raises:
            MismatchError: they are of different SAEs, layers or documents.
        """
        same = (self._sae.weights_hash, self._layer) == (other._sae.weights_hash, other._layer)
        if not same or not np.array_equal(self.documents, other.documents):
            raise MismatchError("means of different SAEs or documents cannot be added", cure="add those of one SAE")
        total = DocumentActivations(self._sae, self._layer, self.documents)
        total._n_tokens = self._n_tokens + other._n_tokens
        for part in (self, other):
            part._settle()
            total._add(part._sums)
        return total

    def n_tokens(self) -> np.ndarray:
        """[m] int64, tokens seen of each document."""
        return self._n_tokens.copy()

    def means(self) -> csr_array:
        """[m, d_sae] float64 mean activation over the document's tokens, silent ones included; zeros without a token."""
        self._settle()
        means = self._sums.copy()
        means.data = means.data / np.repeat(np.maximum(self._n_tokens, 1), np.diff(means.indptr))
        return means


class DocumentResiduals:
    """Mean residual of each of some documents: what the dense probe beside an SAE's is fitted on.

    Args:
        layer: whose residuals.
        documents: [m] distinct numbers of the documents, at most ``MAX_DOCUMENTS``; tokens of others are passed over.

    Raises:
        InputError: too many documents, or one twice.
    """

    def __init__(self, layer: int, documents: np.ndarray):
        self._layer, self._rows = layer, _Rows(documents)
        self._n_tokens = np.zeros(len(self._rows.documents), dtype=np.int64)
        self._sums: np.ndarray | None = None

    @property
    def documents(self) -> np.ndarray:
        """[m] their numbers, in the order of the rows."""
        return self._rows.documents

    def update(self, block: ResidualBlock) -> "DocumentResiduals":
        """Take a block into account."""
        x, row = block.residuals[self._layer], self._rows.of(block.document)
        if self._sums is None:
            self._sums = np.zeros((len(self._n_tokens), x.shape[1]))
        chosen = np.flatnonzero(row >= 0)
        self._n_tokens += np.bincount(row[chosen], minlength=len(self._n_tokens))
        own = x[torch.from_numpy(chosen).to(x.device)].double().cpu().numpy()
        np.add.at(self._sums, row[chosen], own)
        return self

    def n_tokens(self) -> np.ndarray:
        """[m] int64, tokens seen of each document."""
        return self._n_tokens.copy()

    def means(self) -> np.ndarray:
        """[m, d] float64 mean residual; zeros without a token."""
        sums = np.zeros((len(self._n_tokens), 0)) if self._sums is None else self._sums
        means: np.ndarray = sums / np.maximum(self._n_tokens, 1)[:, None]
        return means
