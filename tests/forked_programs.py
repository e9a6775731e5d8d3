"""Programs in processes that are forked from one that has imported the heavy libraries: each begins at once.

As a program it imports the modules that its arguments name, then reads one JSON request a line: ``module`` and
``arguments`` as ``python -m`` has them, the ``folder`` to run in, the ``root`` of the repository, ``environment``, and
the files that take what is printed; it answers with the exit code, or minus the signal that the process died of. Prefect,
which reads its environment when it is imported, is left to the programs.
"""

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORTED = (
    "duckdb",
    "great_expectations.expectations",
    "matplotlib.figure",
    "mlflow.tracking",
    "pandas",
    "polars",
    "pyarrow.parquet",
    "scipy.stats",
    "sklearn.linear_model",
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
)


class Programs:
    """Runs programs in forked processes, one after the other, with one thread for linear algebra."""

    def __init__(self, imported: Collection[str] = IMPORTED) -> None:
        """Start the process that forks; it imports these modules once."""
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.forked_programs", *imported],
            cwd=ROOT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def close(self) -> None:
        """End the process that forks."""
        self._server.communicate()

    def run(
        self,
        module: str,
        *arguments: str,
        folder: Path,
        cwd: Path | None = None,
        root: Path = ROOT,
        without: Collection[str] = (),
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """``python -m module arguments``.

        Args:
            folder: for the files that take what it prints.
            cwd: where it runs; default: at the root.
            root: of the repository, or of a copy of it.
            without: variables of this process that it does not have.
            environment: variables besides those of this process.
        """
        printed = [folder / "printed.out", folder / "printed.err"]
        inherited = {name: value for name, value in os.environ.items() if name not in without}
        request = {
            "module": module,
            "arguments": arguments,
            "folder": str(cwd or root),
            "root": str(root),
            "environment": inherited | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"} | environment,
            "printed": list(map(str, printed)),
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return subprocess.CompletedProcess([module, *arguments], code, *(path.read_text() for path in printed))


def main() -> None:
    """Import everything once, then fork on request; a forked process returns as its program ends."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # no process looks for garbage in what is imported
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            break
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
    else:
        return
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for descriptor, path in enumerate(request["printed"], 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["root"]
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]  # a copy of the repository has its own
    sys.argv = [request["module"], *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
