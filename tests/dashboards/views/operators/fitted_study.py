"""The small study with one richer operator, 2 -> 4."""

from datetime import timedelta
from pathlib import Path

import numpy as np

from ato.operators import TransportOperator
from tests.dashboards.whole_study import build_whole_study
from tests.tasks.reported_study import SAES, interval, pair
from tests.warehouse.small_warehouse import COLLECTION, D_MODEL, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

FOLDS, STRENGTHS = range(3), (1.0, 10.0, 100.0)
RATES, R2S = np.geomspace(1e-4, 0.5, 60), np.linspace(-3, 1, 60)
MODES = 1000
FIT = "Fit and spectrum"
"""The other part of the page."""


def build_fitted_study(root: Path) -> Warehouse:
    """The small study with one more operator 2 -> 4, whose file is there: chosen by folds, of many modes and features."""
    warehouse = build_whole_study(root)
    operator = TransportOperator(2 * np.eye(D_MODEL), np.ones(D_MODEL), "ridge", 2, 4)
    file = warehouse.publish_artifact(operator.save, "operators", "l02-k02", "ridge.safetensors")
    own = {"operator": "ridge-l02-k02", **pair(2, 4)}
    operators = [
        row(
            "operators",
            **own,
            alpha=10.0,
            r2_val=0.1,
            r2_test=0.1,
            path=file.path,
            registry_uri="models:/ato-x/7",
            few_tokens=True,
        )
    ]
    strengths = [
        row("operator_cv", **own, alpha=alpha, fold=fold, r2=0.5 - abs(alpha - 10) / 1000 + fold / 100)
        for alpha in STRENGTHS
        for fold in FOLDS
    ]
    modes = [
        row(
            "operator_spectra",
            **own,
            mode=m,
            singular_value=1 / m if m <= 500 else 1e-17,
            eigenvalue_real=0.6 / m,
            eigenvalue_imag=0.8 / m,
        )
        for m in range(1, MODES + 1)
    ]
    judged = [
        row(
            "feature_transport",
            **own,
            evaluation="features-l02-k02",
            sae=SAES[4],
            feature_id=f,
            n_active=int(1e4 * rate),
            activation_rate=rate,
            verdict="transported" if r2 > 0.7 else "computed",
            **interval("r2", r2, 0),
        )
        for f, (rate, r2) in enumerate(zip(RATES, R2S))
    ]
    tables = {"operators": operators, "operator_cv": strengths, "operator_spectra": modes}
    settings, when = {"alphas": list(STRENGTHS)}, {"collection": COLLECTION, "seconds": 1.0}
    commit(
        warehouse,
        "operators",
        "l02-k02",
        **when,
        settings=settings,
        inputs=[COLLECTION],
        started_at=STARTED + timedelta(hours=1),
        files=[file, *write(warehouse, tables, "fitted")],
    )
    commit(
        warehouse,
        "evaluate",
        "features-l02-k02",
        **when,
        settings={},
        inputs=["l02-k02"],
        started_at=STARTED + timedelta(hours=2),
        files=write(warehouse, {"feature_transport": judged}, "judged"),
    )
    return warehouse
