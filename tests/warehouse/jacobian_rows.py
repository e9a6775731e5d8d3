"""Two planted Jacobians of the pair 2 -> 4: one that stopped within its tolerance, and one at the end of the text."""

from datetime import timedelta

from tests.tasks.reported_study import pair
from tests.warehouse.small_warehouse import COLLECTION, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

ERRORS, TOLERANCE = (None, 0.2, 0.09), 0.1
"""Of the Jacobian ``j-own``."""


def write_jacobians(warehouse: Warehouse) -> None:
    """Write both with how they converged."""
    for number, (key, errors) in enumerate({"j-other": (0.5, 0.4), "j-own": ERRORS}.items()):
        own = {"jacobian": key} | {name: value for name, value in pair(2, 4).items() if name != "method"}
        points = [
            row(
                "jacobian_convergence", **own, part=i, n_tokens=100 * (i + 1), n_documents=4 * (i + 1), relative_error=e
            )
            for i, e in enumerate(errors)
        ]
        tables = {"jacobians": [row("jacobians", **own, converged=key == "j-own", source="model", positions="same")]}
        commit_hours_later(warehouse, "jacobians", key, number, tables | {"jacobian_convergence": points}, [COLLECTION])


def commit_hours_later(
    warehouse: Warehouse, stage: str, key: str, hours: int, tables: dict, inputs: list, files: tuple = ()
) -> None:
    """Commit a stage that began so many hours after the rest of the study."""
    commit(
        warehouse,
        stage,
        key,
        collection=COLLECTION,
        settings={"tolerance": TOLERANCE},
        inputs=inputs,
        started_at=STARTED + timedelta(hours=5 + hours),
        seconds=1.0,
        files=[*files, *write(warehouse, tables, key)],
    )
