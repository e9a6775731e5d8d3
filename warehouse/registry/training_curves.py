"""Curves of SAE trainings as runs of MLflow, beside the registered operators."""

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from warehouse.registry.database import artifact_root, local_folder, open_client, tracking_uri

EXPERIMENT = "sae_study"
_KEY = "ato.sae"
_MOST = 1000
"""Metrics of one request, MLflow's limit."""
_NO_METRICS = {"architecture", "step", "collection", "sae"}


class TrainingCurves:
    """Runs of MLflow, one an SAE; logging the same again changes nothing. MLflow is imported on construction.

    Args:
        warehouse_root: root of the warehouse whose registry is written to.
    """

    def __init__(self, warehouse_root: str | Path):
        self._client = open_client(tracking_uri(warehouse_root), warehouse_root)
        self._experiment = self._named(warehouse_root)

    def _named(self, warehouse_root: str | Path) -> str:
        """Id of the experiment, created on first use."""
        from mlflow.exceptions import MlflowException

        if found := self._client.get_experiment_by_name(EXPERIMENT):
            return str(found.experiment_id)
        remote = tracking_uri(warehouse_root).startswith("http")
        root = str(warehouse_root)
        place = f"{root}/artifacts/mlflow" if "://" in root else artifact_root(root)
        try:
            return str(self._client.create_experiment(EXPERIMENT, None if remote else place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._named(warehouse_root)

    def log(
        self, key: str, label: str, params: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], collection: str
    ) -> None:
        """One run with a value of each metric at each logged step.

        Args:
            key: of the SAE's weights.
            label: name of the run.
            params: settings of the training.
            rows: of the table ``sae_training``.
            collection: that it was trained on.
        """
        from mlflow.entities import Metric, Param, RunTag

        runs = self._client.search_runs([self._experiment], f"tags.`{_KEY}` = '{key}'")
        run = runs[0] if runs else None
        if run is not None and run.info.status == "FINISHED":
            return
        tags = {_KEY: key, "collection": collection}
        run = run or self._client.create_run(self._experiment, run_name=label, tags=tags)
        stamp = run.info.start_time  # not now: a second attempt logs the very same points
        points = (
            Metric(name, float(value), stamp, int(row["step"]))
            for row in rows
            for name, value in row.items()
            if name not in _NO_METRICS and value is not None and math.isfinite(value)
        )
        for batch in _batches(points):
            self._client.log_batch(run.info.run_id, metrics=batch)
        self._client.log_batch(
            run.info.run_id,
            params=[Param(name, str(value)) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        self._client.set_terminated(run.info.run_id)

    def forget(self, collection: str) -> None:
        """Delete the runs of a collection; can be repeated after an interruption."""
        for run in self._client.search_runs([self._experiment], f"tags.collection = '{collection}'"):
            if (folder := local_folder(run.info.artifact_uri)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
            self._client.delete_run(run.info.run_id)


def _batches(points: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(points)
    while batch := list(islice(rest, _MOST)):
        yield batch
