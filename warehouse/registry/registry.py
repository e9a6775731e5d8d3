"""The operator registry: each fitted operator is a version of a registered MLflow model; the best one has an alias."""

import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ato.errors import DamagedFileError, InputError
from warehouse.registry.database import EXPERIMENT, artifact_root, checkpoint, local_folder, open_client, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

BEST = "best"
"""Alias of the version with the highest validation R2, of those of the same weights."""
MAX_METRICS = 30

_CODE = Path(__file__).with_name("pyfunc_model.py")
_OPERATOR_TAG = "operator"
_SCORE_TAG = "r2_val"


def registered_name(
    model: str, source_layer: int, leap: int, site: str = "resid_post", position_policy: str = "same"
) -> str:
    """Name in the registry, for example ``ato-gpt2-L08-k04`` or, of another site, ``ato-gpt2-L08-k04-attn-out``."""
    rest = [name for name, usual in ((site, "resid_post"), (position_policy, "same")) if name != usual]
    return "-".join([f"ato-{_slug(model)}-L{source_layer:02d}-k{leap:02d}", *map(_slug, rest)])


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


class Registry:
    """Operators as versions of registered models, in the MLflow database beside the warehouse.

    Registration is idempotent: an operator's key identifies its version, and an interrupted registration is completed by
    the next one. MLflow is imported on construction.
    """

    def __init__(self, warehouse_root: str | Path):
        self.uri = tracking_uri(warehouse_root)
        self._client = open_client(self.uri, warehouse_root)
        root = str(warehouse_root)
        # A tracking server keeps artifacts where it was told to; a bare database would take the working folder.
        place = f"{root}/artifacts/mlflow" if "://" in root else artifact_root(root)
        self._experiment = _experiment(self._client, None if self.uri.startswith("http") else place)
        self._names: set[str] = set()
        self._weights: dict[str, str] = {}
        self._unfinished = {
            run.data.tags[_OPERATOR_TAG]: run
            for run in self._client.search_runs([self._experiment], "attributes.status = 'RUNNING'")
            if _OPERATOR_TAG in run.data.tags
        }

    def register_operator(
        self,
        path: str | Path,
        operator_key: str,
        *,
        model: str,
        source_layer: int,
        leap: int,
        params: Mapping[str, Any],
        metrics: Mapping[str, float | None],
        tags: Mapping[str, str] | None = None,
        site: str = "resid_post",
        position_policy: str = "same",
    ) -> str:
        """Register an operator's safetensors file and return its address ``models:/NAME/VERSION``.

        An already registered key keeps its version. Metrics that are None or NaN are left out;
        ``r2_val`` decides which version ``update_best`` points at. Operators of another site, position policy or other
        weights of the model (the tag ``weights_hash``) are versions of another registered model.

        Raises:
            DamagedFileError: the file is missing.
            InputError: more than 30 metrics.
        """
        path = Path(path)
        if not path.is_file():
            raise DamagedFileError(
                "the operator to register is missing", where=path, cure="run `ato run operators` again"
            )
        if len(metrics) > MAX_METRICS:
            raise InputError(f"too many metrics: {len(metrics)}", where=operator_key, cure=f"at most {MAX_METRICS}")
        own = {**(tags or {}), "site": site, "position_policy": position_policy}
        name = self._name_of(registered_name(model, source_layer, leap, site, position_policy), own)
        run = self._unfinished.pop(operator_key, None)
        registered = self._versions(name, operator_key)
        if not registered:
            label = {_OPERATOR_TAG: operator_key}
            run = run or self._client.create_run(self._experiment, run_name=operator_key, tags=label)
            finite = {k: float(v) for k, v in metrics.items() if v is not None and math.isfinite(v)}
            labels = {**own, "model": model, "source_layer": str(source_layer), "leap": str(leap), **label}
            self._log(run, finite, params, labels)
            score = {_SCORE_TAG: repr(finite[_SCORE_TAG])} if _SCORE_TAG in finite else {}
            registered = [self._create_version(name, run, path, labels | score)]
        if run is not None:
            self._client.set_terminated(run.info.run_id)
        return f"models:/{name}/{registered[0].version}"

    def update_best(self, name: str) -> str | None:
        """Point the alias ``best`` at the version with the highest ``r2_val``; ties go to the newest.

        Versions of other weights, site or position policy than the first one, which registries of earlier versions may
        hold under one name, do not compete. Returns its address, or None when no version has the score.
        """
        versions = self._versions(name)
        scored = [v for v in versions if _SCORE_TAG in v.tags and _kind(v.tags) == _kind(versions[0].tags)]
        if not scored:
            return None
        best = max(scored, key=lambda v: (float(v.tags[_SCORE_TAG]), int(v.version)))
        if BEST not in best.aliases:
            self._client.set_registered_model_alias(name, BEST, best.version)
        return f"models:/{name}/{best.version}"

    def versions_of(self, collection: str) -> list[str]:
        """Addresses of the versions that were fitted to a collection."""
        return [f"models:/{v.name}/{v.version}" for v in self._search(f"tags.collection = '{collection}'")]

    def forget(self, collection: str) -> None:
        """Delete the versions that were fitted to a collection, and their files; moves ``best`` to a remaining version.

        Can be repeated after an interruption. MLflow keeps the runs, marked as deleted, until ``mlflow gc``.
        """
        from mlflow.entities import ViewType
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        wanted = f"tags.collection = '{collection}'"
        found = self._search(wanted)
        for registered in found:
            self._client.delete_model_version(registered.name, registered.version)
        for name in {registered.name for registered in found}:
            if not self._versions(name):
                self._client.delete_registered_model(name)
            else:
                self.update_best(name)
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs([self._experiment], wanted, ViewType.ALL, page_token=token or None)
            for run in page:
                if (folder := local_folder(run.info.artifact_uri)) is not None:
                    with suppress(FileNotFoundError):  # MLflow reads %20 in a path as a space
                        shutil.rmtree(folder)
                else:
                    get_artifact_repository(run.info.artifact_uri).delete_artifacts()
                if run.info.lifecycle_stage == "active":
                    self._client.delete_run(run.info.run_id)
            token = page.token

    def load(self, address: str) -> Any:
        """The operator behind ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS`` as an MLflow pyfunc model.

        Raises:
            InputError: no such model, version or alias.
        """
        from mlflow import pyfunc
        from mlflow.exceptions import MlflowException

        parts = re.fullmatch(r"models:/([^/@]+)([/@])([^/@]+)", address)
        if parts is None:
            raise InputError(
                "invalid registry address", where=address, cure="use models:/NAME/VERSION or models:/NAME@best"
            )
        name, separator, wanted = parts.groups()
        get = self._client.get_model_version_by_alias if separator == "@" else self._client.get_model_version
        try:
            with _named_plainly(str(get(name, wanted).source)) as source:
                return pyfunc.load_model(source)
        except MlflowException as error:
            raise InputError("cannot load from the registry", where=address, cure=str(error).splitlines()[0]) from error

    def checkpoint(self) -> None:
        """Make the database one whole file; call it when a run is done with the registry."""
        checkpoint(self.uri)

    def _name_of(self, name: str, tags: Mapping[str, str]) -> str:
        """The name for operators of these weights: a name that is taken by other weights gets their hash."""
        weights = tags.get("weights_hash")
        if weights is None:
            return name
        if name not in self._weights:
            first = next(iter(self._versions(name)), None)
            self._weights[name] = weights if first is None else first.tags.get("weights_hash", weights)
        return name if self._weights[name] == weights else f"{name}-w{weights[:8]}"

    def _versions(self, name: str, operator_key: str | None = None) -> "list[ModelVersion]":
        return self._search(
            f"name = '{name}'" + (f" and tags.{_OPERATOR_TAG} = '{operator_key}'" if operator_key else "")
        )

    def _search(self, wanted: str) -> "list[ModelVersion]":
        found: list[ModelVersion] = []
        token = None
        while True:
            page = self._client.search_model_versions(wanted, page_token=token)
            found += page
            if not (token := page.token):
                return sorted(found, key=lambda v: (v.name, int(v.version)))

    def _create_version(self, name: str, run: Any, path: Path, tags: Mapping[str, str]) -> "ModelVersion":
        source = self._store(run, path)
        self._ensure_name(name)
        # The tags are written in the transaction that makes the version: it cannot exist without its operator's key.
        return self._client.create_model_version(name, source, run.info.run_id, tags=dict(tags), await_creation_for=0)

    def _ensure_name(self, name: str) -> None:
        """Create the registered model, unless another worker just did."""
        from mlflow.exceptions import MlflowException

        if name in self._names:
            return
        try:
            self._client.create_registered_model(name, description="Transport operators of one layer pair")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        self._names.add(name)

    def _log(self, run: Any, metrics: Mapping[str, float], params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log everything in one request, stamped with the run's start time, so that repeating it changes nothing."""
        from mlflow.entities import Metric, Param, RunTag

        self._client.log_batch(
            run.info.run_id,
            metrics=[Metric(k, v, run.info.start_time, 0) for k, v in metrics.items()],
            params=[Param(k, str(v)) for k, v in params.items()],
            tags=[RunTag(k, v) for k, v in tags.items()],
        )

    def _store(self, run: Any, path: Path) -> str:
        """Write the model folder (code, requirements, weights) to the run's artifacts; returns its address."""
        source = f"{run.info.artifact_uri}/operator"
        if (folder := local_folder(source)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            _save(path, folder)
            _share_bytes(path, folder / "artifacts" / path.name)
            return source
        with tempfile.TemporaryDirectory() as staging:
            _save(path, Path(staging) / "operator")
            self._client.log_artifacts(run.info.run_id, f"{staging}/operator", "operator")
        return source


def _kind(tags: Mapping[str, str]) -> tuple[str | None, str, str]:
    """What versions must share to compete."""
    return tags.get("weights_hash"), tags.get("site", "resid_post"), tags.get("position_policy", "same")


@contextmanager
def _named_plainly(address: str) -> Iterator[str]:
    """An address for MLflow to load from: it decodes ``%`` in names of local files more than once, so they are copied."""
    folder = local_folder(address)
    if folder is None or "%" not in str(folder):
        yield address
        return
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "operator")
        shutil.copytree(folder, copy)
        yield str(copy)


def _save(path: Path, folder: Path) -> None:
    from mlflow import pyfunc

    # Naming the requirements spares a subprocess of several seconds that would import everything to infer them.
    pyfunc.save_model(
        str(folder),
        python_model=str(_CODE),
        artifacts={"operator": str(path.absolute())},
        pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in ("numpy", "safetensors", "torch")],
    )


def _share_bytes(path: Path, copy: Path) -> None:
    """Replace the registry's copy of the weights by a hard link, where the file system allows."""
    link = copy.with_name(f".{copy.name}.link")
    with suppress(OSError):
        os.link(path, link)
        os.replace(link, copy)


def _experiment(client: "MlflowClient", artifact_location: str | None) -> str:
    """Id of the experiment, created on first use; it holds one run per operator."""
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(EXPERIMENT):
        return found.experiment_id
    try:
        return client.create_experiment(EXPERIMENT, artifact_location=artifact_location)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return _experiment(client, artifact_location)
