"""Rows about the training of an SAE: each of its snapshots, how often features fired in it, the life of each feature."""

from typing import Any

import numpy as np

from ato.numerics.intervals import number_or_none
from ato.sae_studies.densities import DENSITY_EDGES
from ato.sae_studies.emergence import FeatureEmergence
from ato.sae_studies.snapshots import QUANTILES, SnapshotSummary
from tasks.engine.stage import Stage


def write_emergence(stage: Stage, sae: str, found: FeatureEmergence) -> None:
    """Write ``sae_snapshots``, ``sae_snapshot_density`` and ``feature_emergence`` of one SAE."""
    own = {"collection": stage.collection, "sae": sae}
    stage.write("sae_snapshots", [snapshot_row(summary) | own for summary in found.summaries], sae=sae)
    densities = [row | own for summary in found.summaries for row in density_rows(summary)]
    stage.write("sae_snapshot_density", densities, sae=sae)
    stage.write("feature_emergence", [row | own for row in feature_rows(found)], sae=sae)


def snapshot_row(summary: SnapshotSummary) -> dict[str, Any]:
    """A row of ``sae_snapshots`` without its keys."""
    quality, median = summary.quality, summary.log10_rate_quantiles[QUANTILES.index(0.5)]
    return {
        "step": summary.step,
        "tokens": summary.n_trained,
        "n_tokens": quality.n_tokens,
        "fvu": quality.fvu.value,
        "fvu_low": quality.fvu.low,
        "fvu_high": quality.fvu.high,
        "l0": number_or_none(quality.l0),
        "dead_share": quality.dead_share,
        "high_frequency_share": number_or_none(summary.high_frequency_share),
        "median_log10_rate": number_or_none(median),
        "mean_final_cosine": number_or_none(summary.mean_cosine),
        "mean_final_cosine_shuffled": number_or_none(summary.mean_cosine_shuffled),
        "emerged_share": number_or_none(summary.share_emerged),
        "mean_jaccard": number_or_none(summary.mean_agreement),
        "mean_jaccard_by_chance": number_or_none(summary.mean_agreement_by_chance),
    }


def density_rows(summary: SnapshotSummary) -> list[dict[str, Any]]:
    """Rows of ``sae_snapshot_density`` without ``collection`` and ``sae``: bin 0 are the features that never fire."""
    step, never = summary.step, summary.n_features - summary.n_active
    rows = [{"step": step, "bin": 0, "log10_rate_low": None, "log10_rate_high": None, "n_features": never}]
    edges = zip(DENSITY_EDGES[:-1].tolist(), DENSITY_EDGES[1:].tolist(), strict=True)
    for number, ((low, high), n) in enumerate(zip(edges, summary.log10_rate_counts.tolist(), strict=True), start=1):
        rows.append({"step": step, "bin": number, "log10_rate_low": low, "log10_rate_high": high, "n_features": n})
    return rows


def feature_rows(found: FeatureEmergence) -> list[dict[str, Any]]:
    """Rows of ``feature_emergence`` without ``collection`` and ``sae``."""
    steps = found.steps

    def at(index: np.ndarray) -> list[int | None]:
        return [int(steps[i]) if i >= 0 else None for i in index]

    parents, first, final = found.parents, found.first, found.final
    split = np.where(parents.split, parents.parent, -1)
    columns: dict[str, list[Any]] = {
        "feature_id": found.feature_id.tolist(),
        "emerged_step": at(found.emerged),
        "born_step": at(found.born),
        "died_step": at(found.died),
        "first_cosine": _numbers(found.cosine[0]),
        "first_jaccard": _numbers(found.agreement[0]),
        "first_jaccard_by_chance": _numbers(found.agreement_by_chance[0]),
        "drift": _numbers(found.drift.value),
        "drift_low": _numbers(found.drift.low),
        "drift_high": _numbers(found.drift.high),
        "n_documents": found.n_documents_active.tolist(),
        "parent": [int(i) if i >= 0 else None for i in parents.parent],
        "parent_cosine": _numbers(parents.cosine),
        "parent_cosine_by_chance": _numbers(parents.cosine_by_chance),
        "split_from": [int(i) if i >= 0 else None for i in split],
        "token_entropy_first": _numbers(first.token_entropy),
        "token_entropy": _numbers(final.token_entropy),
        "token_entropy_by_chance": _numbers(final.token_entropy_by_chance),
        "stratum_entropy": _numbers(final.stratum_entropy),
        "stratum_entropy_by_chance": _numbers(final.stratum_entropy_by_chance),
        "reason": found.reason.tolist(),
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _numbers(values: np.ndarray) -> list[float | None]:
    return [number_or_none(float(value)) for value in values]
