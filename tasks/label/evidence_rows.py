"""Columns of the tables of evidence, from what was collected of one SAE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ato.features.activation_histograms import histogram_edges
from ato.features.evidence_windows import SILENT, EvidenceWindows, LabelEvidence
from ato.features.logit_lens import LogitLens
from ato.text import TokenSequence
from ato.text.token_texts import TokenTexts, whole_tokens
from tasks.label.chosen import Chosen, chosen_columns
from warehouse.storage.parquet import null_where, null_where_nan

Columns = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """What windows are shown with."""

    corpus: str
    sequences: Mapping[int, TokenSequence]
    """By number."""
    texts: TokenTexts
    stratum: Mapping[int, str]
    """Document -> value of the corpus's first stratum."""


def evidence_tables(
    source: str, chosen: Chosen, found: LabelEvidence, lens: LogitLens | None, shown: Shown
) -> dict[str, Columns]:
    """Table -> columns without the keys that all rows of the evidence share.

    Args:
        source: sae, transcoder, adapter or neurons.
        chosen: the features, in their order.
        found: what was collected of them.
        lens: of the chosen features, in their order; None where they do not write into the residual stream.
        shown: texts and strata.
    """
    return {
        "labelled_features": _features(source, chosen, found, lens, shown.texts),
        "example_windows": _windows(found.windows, shown),
        "feature_histograms": _histograms(found),
        "feature_strata": _strata(found),
        "feature_neighbours": _neighbours(found),
    }


def _features(source: str, chosen: Chosen, found: LabelEvidence, lens: LogitLens | None, texts: TokenTexts) -> Columns:
    ids, counts = chosen.feature_id, found.histograms
    n = len(ids)
    columns = chosen_columns(chosen) | {
        "source": [source] * n,
        "n_tokens": np.full(n, counts.n_tokens),
        "n_active": counts.n_active[ids],
        "max_activation": null_where_nan(counts.maximum[ids]),
    }
    for name, end in (("promoted", "top"), ("suppressed", "bottom")):
        tokens = [[]] * n if lens is None else [texts.of(row) for row in getattr(lens, f"{end}_ids")]
        logits = [[]] * n if lens is None else list(getattr(lens, f"{end}_logits"))
        columns |= {name: tokens, f"{name}_logits": logits}
    return columns


def _windows(w: EvidenceWindows, shown: Shown) -> Columns:
    sequences = [shown.sequences[int(number)] for number in w.sequence_id]
    first = np.searchsorted(w.feature_id, w.feature_id)
    strata = [shown.stratum.get(int(document)) for document in w.document]
    numbers = w.sequence_id.tolist()
    whole = {n: list(whole_tokens(shown.texts.of(shown.sequences[n].token_ids))) for n in set(numbers)}
    ends = zip(numbers, w.start.tolist(), w.end.tolist(), strict=True)
    tokens = [whole[number][start:end] for number, start, end in ends]
    return {
        "feature_id": w.feature_id.astype(np.int32),
        "window_id": (np.arange(len(w)) - first).astype(np.int32),
        "kind": w.kind.tolist(),
        "tier": [tier or None for tier in w.tier.tolist()],
        "rank": w.rank.astype(np.int32),
        "quantile": null_where_nan(w.quantile),
        "neighbour": null_where(w.neighbour.astype(np.int32), w.neighbour < 0),
        "corpus": [shown.corpus] * len(w),
        "document_id": [sequence.document_id for sequence in sequences],
        "document": w.document.astype(np.int32),
        "sequence_id": w.sequence_id,
        "position": w.position.astype(np.int32),
        "start": w.start.astype(np.int32),
        "split": w.split.tolist(),
        "stratum": strata,
        "activation": np.where(w.kind == SILENT, 0.0, w.activation),
        "tokens": tokens,
        "activations": w.activations,
    }


def _histograms(found: LabelEvidence) -> Columns:
    edges = histogram_edges()
    counts = found.histograms.counts[found.features]
    row, number = np.nonzero(counts)
    high = edges[number + 1]
    return {
        "feature_id": found.features[row].astype(np.int32),
        "bin": number.astype(np.int32),
        "low": edges[number],
        "high": null_where(np.where(np.isinf(high), 0, high), np.isinf(high)),
        "n": counts[row, number],
    }


def _strata(found: LabelEvidence) -> Columns:
    parts = []
    for name, rates in found.strata.items():
        n_values = len(rates.values)
        of = np.repeat(found.features, n_values)
        value = np.tile(np.arange(n_values), len(found.features))
        parts.append(
            (
                of,
                [name] * len(of),
                [rates.values[i] for i in value],
                rates.n_tokens[value],
                rates.n_active[of, value],
                rates.density[of, value],
                rates.share[of, value],
            )
        )
    feature, names, values, n_tokens, n_active, density, share = zip(*parts, strict=True)
    return {
        "feature_id": np.concatenate(feature).astype(np.int32),
        "stratum": [name for part in names for name in part],
        "value": [value for part in values for value in part],
        "n_tokens": np.concatenate(n_tokens),
        "n_active": np.concatenate(n_active),
        "density": null_where_nan(np.concatenate(density)),
        "share": null_where_nan(np.concatenate(share)),
    }


def _neighbours(found: LabelEvidence) -> Columns:
    both = {"coactivation": found.coactivation, "decoder": found.cosine}
    columns = {
        name: np.concatenate([getattr(of, name) for of in both.values()])
        for name in ("feature_id", "rank", "neighbour", "value")
    }
    method = [name for name, of in both.items() for _ in range(len(of))]
    ids = {name: columns[name].astype(np.int32) for name in ("feature_id", "rank", "neighbour")}
    return {**ids, "method": method, "value": columns["value"]}
