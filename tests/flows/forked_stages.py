"""Stages of a study in processes that are forked from one that has imported everything, and may be made to die.

As a program it reads one JSON request a line and answers it: ``start`` forks a process that runs stages, ``wait``
says how it ended.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SMALL: dict[str, dict[str, Any]] = {
    "saes": {"layers": [2], "n_tokens": 1_024, "buffer_rows": 512, "judge_sequences": 2},
    "operators": {"source_layers": [0], "leaps": [1, 2], "methods": ["ridge", "identity"], "train_fractions": []},
    "features": {"n_tokens": 1_000, "ablation_sequences": 1},
    "evaluate": {"ranks": [1, 4]},
    "causal": {"positions": ["5"], "n_sequences": 2},
    "report": {"png": False, "n_example_features": 0},
}
"""What is left of the tiny study: every stage, and two pairs."""


STAGES = "tests.flows.forked_stages:run_stages"
"""What is run if nothing else is named."""


@dataclass(frozen=True)
class Death:
    """kill -9 at one moment of a run."""

    moment: str
    """``half``: a file is half written; ``before`` and ``after`` it gets its name; or the name of a call in ``CALLS``,
    after which the process dies."""
    of: str = ""
    """Which file: a pattern of its path in the warehouse."""
    count: int = 1
    """The how manieth time."""


class Forks:
    """Starts runs in forked processes, and waits for them."""

    def __init__(self) -> None:
        """Start the program."""
        self._program = subprocess.Popen(
            [sys.executable, "-m", "tests.flows.forked_stages"],
            cwd=ROOT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def close(self) -> None:
        """End the program that forks."""
        self._program.kill()
        self._program.communicate()

    def start(
        self,
        settings: Any,
        warehouse: Path,
        log: Path,
        death: Death | None = None,
        gate: str = "",
        what: str = STAGES,
    ) -> int:
        """Start a run; returns its process id.

        Args:
            log: file that takes all that it prints.
            gate: path of a file; the model runs only while it exists.
            what: the function of settings that is run, as module:function.
        """
        return self._ask(
            {
                "start": settings.model_dump_json(),
                "warehouse": str(warehouse),
                "log": str(log),
                "death": death and asdict(death),
                "gate": gate,
                "what": what,
            }
        )

    def wait(self, process: int) -> int:
        """Wait for its end; returns its exit code, or minus the signal that it died of."""
        return self._ask({"wait": process})

    def run(self, settings: Any, warehouse: Path, log: Path, death: Death | None = None, what: str = STAGES) -> int:
        """Start a run and wait for it."""
        return self.wait(self.start(settings, warehouse, log, death, what=what))

    def _ask(self, request: dict[str, Any]) -> int:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps(request) + "\n")
        self._program.stdin.flush()
        return int(self._program.stdout.readline())


def run_stages(settings: Any) -> str:
    """All stages as plain functions: what survives a crash does not depend on Prefect. Returns the collection's key."""
    from tasks.causal.task import measure_causal
    from tasks.collect.task import collect_residuals
    from tasks.evaluate.task import evaluate_operators
    from tasks.features.task import measure_features, score_features
    from tasks.operators.task import fit_operators
    from tasks.saes.task import obtain_saes
    from warehouse.catalog.published import publish

    s = settings
    key = collect_residuals.fn(s.model, s.collecting, s.layers, s.operators)
    study = s.study(key)
    saes = obtain_saes.fn(study, s.saes)
    measure_features.fn(study, saes)
    score_features.fn(study, saes, s.features)
    fit_operators.fn(study, saes, s.operators)
    evaluate_operators.fn(study, saes, s.operators, s.evaluate)
    measure_causal.fn(study, saes, s.operators, s.causal)
    publish()
    return key


CALLS = {
    "model": ("ato.models", "LanguageModel", "read"),
    "checkpoint": ("ato.saes.training.checkpoints", "Checkpoint", "write"),
    "judge answered": ("ato.autointerp.call_cache", "FolderCalls", "put"),
    "run created": ("mlflow.tracking", "MlflowClient", "create_run"),
    "run logged": ("mlflow.tracking", "MlflowClient", "log_batch"),
    "version created": ("mlflow.tracking", "MlflowClient", "create_model_version"),
}
"""Moments between the writing of files."""


IMPORTED = (
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "great_expectations.expectations",
    "mlflow.tracking",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "sklearn.linear_model",
    "pandas",
    "flows.pipeline",
    "tasks.causal.task",
    "tasks.collect.task",
    "tasks.evaluate.task",
    "tasks.fate.task",
    "tasks.features.task",
    "tasks.graphs.making",
    "tasks.graphs.task",
    "tasks.label.task",
    "tasks.operators.task",
    "tasks.sae_study.task",
    "tasks.saes.task",
)
"""What stages import when they need it: once here, instead of in each process until it dies."""


def _after(call: tuple[str, str, str], then: Callable[[], None]) -> None:
    """Do something after each call of a method."""
    module, name, method = call
    owner = getattr(importlib.import_module(module), name)
    real = getattr(owner, method)

    def called(self: Any, *args: Any, **options: Any) -> Any:
        result = real(self, *args, **options)
        then()
        return result

    setattr(owner, method, called)


def _arrange(death: Death) -> None:
    """Prepare this process to die."""
    from warehouse.storage.local_storage import LocalStorage

    left = death.count

    def die() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if death.moment in CALLS:
        _after(CALLS[death.moment], die)
        return
    stage = LocalStorage.stage

    def stage_or_die(self: Any, path: str, write: Callable, *args: Any, **options: Any) -> Any:
        if not fnmatch(path, death.of):
            return stage(self, path, write, *args, **options)

        def write_or_die(staging: Path) -> None:
            write(staging)
            if death.moment == "half" and left == 1:
                os.truncate(staging, staging.stat().st_size // 2)
            if death.moment != "after":
                die()

        finish = stage(self, path, write_or_die, *args, **options)

        def finish_or_die() -> Any:
            result = finish()
            if death.moment == "after":
                die()
            return result

        return finish_or_die

    LocalStorage.stage = stage_or_die  # type: ignore[method-assign]


def _child(request: dict[str, Any]) -> None:
    """Run stages, print to the log, and leave without returning."""
    import time
    import traceback

    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["ATO_WAREHOUSE"] = request["warehouse"]
        if request["death"]:
            _arrange(Death(**request["death"]))
        if gate := request["gate"]:

            def wait_for_gate() -> None:
                while not os.path.exists(gate):
                    time.sleep(0.01)

            _after(CALLS["model"], wait_for_gate)
        from flows.settings import Settings

        module, function = request["what"].split(":")
        run = getattr(importlib.import_module(module), function)
        run(Settings.model_validate_json(request["start"]))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _know_packages() -> None:
    """What each process would find out anew: the modules of all packages, MLflow's migrations and database, the bound marts."""
    from mlflow.utils import requirements_utils

    from warehouse.catalog.catalog import connect
    from warehouse.registry import database

    with tempfile.TemporaryDirectory() as folder:
        connect(folder, must_exist=False).close()
        database._ensure_database(Path(folder, "mlflow.db"))

    requirements_utils._init_packages_to_modules_map()
    database._schemas()


def main() -> None:
    """Import everything once, then fork on request."""
    from flows.engine.environment import prepare_environment

    prepare_environment()
    for name in IMPORTED:
        importlib.import_module(name)
    _know_packages()
    gc.freeze()  # no process looks for garbage in what is imported
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            process = os.fork()
            if process == 0:
                _child(request)
            print(process, flush=True)
        else:
            status = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
            print(status, flush=True)


if __name__ == "__main__":
    main()
