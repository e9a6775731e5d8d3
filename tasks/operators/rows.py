"""Fitted operators as rows of the tables ``operators``, ``operator_cv`` and ``operator_spectra``."""

from typing import Any

from ato.evaluation.residual_formulas import ResidualScore
from ato.evaluation.residual_moments import residual_scores_from_moments
from ato.operators import TransportOperator
from ato.operators.fitting import OperatorFit
from ato.operators.methods import METHODS
from ato.operators.spectra import operator_spectrum
from tasks.engine.columns import estimate_columns
from tasks.engine.study import Study
from tasks.operators.pairs import PairStage
from tasks.operators.work import FitWork


def columns_from_moments(work: FitWork, pair: PairStage, operator: TransportOperator) -> dict[str, Any]:
    """What is known of an operator before a test token is scored, as columns of its row."""
    moments = work.moments.own
    by_split = {
        split: residual_scores_from_moments(operator, moments, *pair.keys, split, whitened=False)
        for split in ("train", "val")
    }
    return {
        "n_unpaired": work.study.row.n_kept - moments.variation(pair.target_layer, moments.groups)[0],
        "r2_train": by_split["train"].r2.value,
        "r2_val": by_split["val"].r2.value,
    }


def operator_row(study: Study, pair: PairStage, method: str, fit: OperatorFit, score: ResidualScore) -> dict[str, Any]:
    """The row of one operator but ``columns_from_moments``, its file and its address in the registry.

    Args:
        score: on the test tokens.
    """
    operator, collection = fit.operator, study.row
    return {
        "collection": collection.collection,
        "operator": pair.operator_key(method),
        **pair.policy_columns,
        "method": method,
        "output_weight": operator.output_weight,
        "alpha": operator.alpha,
        "l1_ratio": fit.l1_ratio,
        "alpha_at_edge": fit.alpha_at_edge,
        "rank": operator.rank,
        "kept_rank": fit.kept_rank,
        "n_train": fit.n_train,
        "n_test": score.n,
        "n_test_documents": score.n_documents,
        "few_tokens": fit.n_train < 10 * collection.d_model,
        "r2_cv": fit.r2_cv,
        **estimate_columns(
            r2_test=score.r2,
            r2_weighted=score.r2_weighted,
            r2_whitened=score.r2_whitened,
            r2_update=score.r2_update,
            skill=score.skill,
        ),
        "mse": score.mse,
        "cosine": score.cosine,
    }


def cv_rows(pair: PairStage, method: str, fit: OperatorFit) -> list[dict[str, Any]]:
    """A row a strength and fold; none for an operator without a choice to make."""
    if fit.cv_scores is None:
        return []
    ratios = [None] * len(fit.alphas) if fit.l1_ratios is None else fit.l1_ratios.tolist()
    return [
        {
            "collection": pair.stage.collection,
            "operator": pair.operator_key(method),
            **pair.columns,
            "method": method,
            "alpha": alpha,
            "l1_ratio": ratio,
            "fold": fold,
            "r2": float(r2),
        }
        for alpha, ratio, folds in zip(fit.alphas.tolist(), ratios, fit.cv_scores)
        for fold, r2 in enumerate(folds)
    ]


def spectrum_rows(pair: PairStage, method: str, operator: TransportOperator) -> list[dict[str, Any]]:
    """A row a mode; none for baselines, whose spectrum says nothing."""
    if METHODS[method].baseline:
        return []
    spectrum = operator_spectrum(operator)
    values = spectrum.eigenvalues
    return [
        {
            "collection": pair.stage.collection,
            "operator": pair.operator_key(method),
            **pair.policy_columns,
            "method": method,
            "mode": i + 1,
            "singular_value": float(singular),
            "eigenvalue_real": None if values is None else float(values[i].real),
            "eigenvalue_imag": None if values is None else float(values[i].imag),
        }
        for i, singular in enumerate(spectrum.singular_values)
    ]
