"""Rows of comparisons for tests: two checkpoints, of which the later one has lost two features."""

from datetime import timedelta
from typing import Any

from tests.warehouse.small_warehouse import COLLECTION, SAE, STARTED, row, write
from warehouse.storage.manifests import PASSED, commit
from warehouse.storage.warehouse import Warehouse

MODELS = ("step-50", "step-200")
SOURCE, TARGET, N_FEATURES = 2, 4, 6
LOST = {"step-50": (), "step-200": (1, 4)}
"""Model -> features that are no longer carried there."""
OWN, GONE = 0.9, -0.6
"""r2 in this model, and what a lost feature loses."""


def comparison_rows(model: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of the comparison with a checkpoint."""
    keys = {
        "comparison": f"compare-{model}",
        "other_collection": f"collection-{model}",
        "other_model": model,
        "sae": SAE,
        "source_layer": SOURCE,
        "leap": TARGET - SOURCE,
        "target_layer": TARGET,
    }
    features = []
    for feature in range(N_FEATURES):
        difference = GONE if feature in LOST[model] else 0.0
        features.append(
            row(
                "feature_comparisons",
                **keys,
                feature_id=feature,
                n_active=100,
                other_n_active=90,
                r2=OWN,
                other_r2=OWN + difference,
                difference=difference,
                difference_low=difference - 0.02,
                difference_high=difference + 0.02,
                loss=0.01,
                p=1e-6 if difference else 0.8,
                q=1e-5 if difference else 0.9,
                changed=bool(difference),
                verdict="transported",
                other_verdict="undetermined" if difference else "transported",
            )
        )
    mean = GONE * len(LOST[model]) / N_FEATURES
    summary = row(
        "comparisons",
        **keys,
        n_features=N_FEATURES,
        n_documents=12,
        n_changed=len(LOST[model]),
        mean_difference=mean,
        mean_difference_low=mean - 0.01,
        mean_difference_high=mean + 0.01,
        mean_loss=0.01,
        mean_loss_low=0.0,
        mean_loss_high=0.02,
        relative_distance=0.1 * (1 + MODELS.index(model)),
    )
    return {"comparisons": [summary], "feature_comparisons": features}


def write_comparisons(warehouse: Warehouse) -> None:
    """Commit both comparisons."""
    for hours, model in enumerate(reversed(MODELS)):  # the later checkpoint first: places follow the names
        commit(
            warehouse,
            "compare",
            f"compare-{model}",
            collection=COLLECTION,
            inputs=[COLLECTION],
            settings={},
            files=write(warehouse, comparison_rows(model), model),
            tokens_run=0,
            quality=PASSED,
            flow_run_id=None,
            started_at=STARTED + timedelta(hours=hours),
            seconds=1.0,
        )
