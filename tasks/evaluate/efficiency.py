"""What rank a pair's map needs: efficiency against its ceilings, canonical correlations and subspace sizes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ato.evaluation.ceilings import CanonicalCorrelations, CanonicalModes
from ato.evaluation.held_out_ceilings import ModeResult, ModeScores, RankScore
from ato.evaluation.published_curve import PublishedCurve, published_curve
from ato.evaluation.subspace_sizes import lts_rank_null
from ato.numerics.parallel import run_tasks
from ato.operators import TransportOperator
from ato.operators.fitting import fit_operator_from_moments
from ato.residuals import Consumer
from tasks.collect.moments import StudyMoments
from tasks.engine.columns import estimate_columns
from tasks.engine.stage import Stage
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage
from tasks.settings import OperatorSettings
from warehouse.storage.parquet import null_where_nan

WIDE_BRACKET = 0.05
"""A ceiling whose in-sample and held-out ends differ by more is flagged: it is not known well enough."""


@dataclass(frozen=True)
class _FromMoments:
    """What the moments say of a pair, before a token is scored."""

    scores: ModeScores
    """Of its canonical modes from train."""
    ranks: list[int]
    published: PublishedCurve
    """What the study's released code gives, with its truncated ridge operator."""
    null: CanonicalCorrelations | None
    """Of the permutation null: documents of y shuffled against x."""


class RankEvaluation:
    """Efficiency curve, canonical correlations and subspace sizes of every pair, published and corrected side by side."""

    def __init__(self, study: Study, pairs: Iterable[PairStage], operators: OperatorSettings, ranks: Sequence[int]):
        self._study, self._operators, self._ranks = study, operators, ranks
        own = {"ranks": list(ranks), "permutation_null": operators.permutation_null}
        self._stages = {
            pair.stage.key: (
                pair,
                study.stage("evaluate", f"ranks-{pair.slug}", settings=own, inputs=[pair.stage.key], version=2),
            )
            for pair in pairs
        }
        self._known: dict[str, _FromMoments] = {}

    @property
    def stages(self) -> Sequence[tuple[int, Stage]]:
        """Target layer and stage, one a pair."""
        return [(pair.target_layer, stage) for pair, stage in self._stages.values()]

    def consumers(self, moments: StudyMoments) -> list[Consumer]:
        """Canonical modes from train, re-measured on the test tokens."""
        missing = {key: pair for key, (pair, stage) in self._stages.items() if not stage.complete}
        known = run_tasks([partial(self._from_moments, moments, pair) for pair in missing.values()])
        self._known = dict(zip(missing, known, strict=True))
        return [known.scores for known in self._known.values()]

    def _from_moments(self, moments: StudyMoments, pair: PairStage) -> _FromMoments:
        modes = CanonicalModes.from_moments(moments.own, *pair.keys)
        ranks = sorted({min(rank, modes.d_kept, self._study.row.d_model) for rank in self._ranks})
        published = published_curve(self._ridge(moments, pair), moments.own, *pair.keys, ranks, modes)
        null = None
        if moments.permuted is not None:
            permuted, keys = moments.permuted_pair(*pair.layers)
            null = CanonicalCorrelations.from_moments(permuted, *keys)
        return _FromMoments(ModeScores(modes), ranks, published, null)

    def commit(self, on_stage: Callable[[], None]) -> None:
        """Write the three tables of each pair."""
        for key in [*self._known]:
            self._commit_pair(*self._stages[key], self._known.pop(key))
            on_stage()

    def _commit_pair(self, pair: PairStage, stage: Stage, known: _FromMoments) -> None:
        modes, null = known.scores.modes, known.null
        result = known.scores.result(known.ranks)
        shared = {"collection": stage.collection, "evaluation": stage.key, **pair.policy_columns}
        n_modes = len(modes.rho_in_sample)
        with stage:
            stage.write(
                "efficiency",
                [self._efficiency_row(score, known, result) | shared for score in result.ranks],
            )
            rho_null = np.full(n_modes, np.nan)
            if null is not None:
                rho_null[: len(null.rho_in_sample)] = null.rho_in_sample[:n_modes]
            stage.write(
                "canonical_correlations",
                {name: [value] * n_modes for name, value in shared.items()}
                | {
                    "mode": np.arange(1, n_modes + 1),
                    "rho_in_sample": modes.rho_in_sample,
                    "rho_held_out": null_where_nan(result.rho_held_out),
                    "rho_null": null_where_nan(rho_null),
                },
            )
            stage.write("subspaces", [self._subspace_row(known, result) | shared])

    def _ridge(self, moments: StudyMoments, pair: PairStage) -> TransportOperator:
        """The pair's ridge operator, fitted here if the settings leave it out: the study's rank curve truncates it."""
        if "ridge" in pair.methods:
            return pair.load("ridge")
        return fit_operator_from_moments(moments.own, *pair.keys, "ridge", alphas=self._operators.alphas).operator

    def _efficiency_row(self, score: RankScore, known: _FromMoments, result: ModeResult) -> dict[str, Any]:
        modes, null, published = known.scores.modes, known.null, known.published
        in_sample, held_out, d_model = score.ceiling_in_sample, score.ceiling_held_out, self._study.row.d_model
        return {
            "ceiling_in_sample": in_sample,
            **estimate_columns(ceiling_held_out=held_out, r2_rrr=score.r2_rrr, efficiency=score.efficiency),
            "rank": score.rank,
            "d_kept": modes.d_kept,
            "n_train": modes.n,
            "n_test": result.n,
            "n_over_d": modes.n / d_model,
            "few_tokens": modes.n < 10 * d_model,
            "ceiling_null": None if null is None else null.ceiling(min(score.rank, null.d_kept)),
            "bracket_wide": in_sample - float(held_out) > WIDE_BRACKET,
            "r2_svd_paper": published.r2[score.rank],
            "ceiling_paper": published.ceiling(score.rank),
            "efficiency_paper": published.efficiency(score.rank),
        }

    def _subspace_row(self, known: _FromMoments, result: ModeResult) -> dict[str, Any]:
        modes, null, published = known.scores.modes, known.null, known.published.sizes
        held_out, in_sample = result.sizes_held_out, modes.sizes
        measurable = bool(np.nansum(result.rho_held_out**2) > 0)
        return {
            "d_kept": modes.d_kept,
            "n_train": modes.n,
            "few_tokens": modes.n < 10 * self._study.row.d_model,
            "lts_dim_participation": published.participation,
            "lts_dim_participation_held_out": held_out.participation if measurable else None,
            "lts_dim_participation_squared": in_sample.participation_squared,
            "lts_dim_entropy": in_sample.entropy,
            **{f"lts_rank_{n}": getattr(held_out, f"rank_{n}") if measurable else None for n in (90, 95, 99)},
            **{f"lts_rank_{n}_paper": getattr(published, f"rank_{n}") for n in (90, 95, 99)},
            "lts_rank_null": None if null is None else lts_rank_null(modes.rho_in_sample, null.rho_in_sample),
            "lts_rank_saturation": result.rank_saturation,
        }
