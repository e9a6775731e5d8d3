"""A function of a benchmark in a process of its own, on a warehouse of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_CALL = """
import importlib, json, sys
from flows.engine.environment import make_data_folder, prepare_environment
prepare_environment()
make_data_folder()
module, function, *arguments = json.loads(sys.argv[1])
print(json.dumps(getattr(importlib.import_module(module), function)(*arguments)))
"""


def environment(data: Path, **more: str) -> dict[str, str]:
    """The environment of a process whose data lie in a folder, apart from every Prefect server that there is."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_API", "PREFECT_HOME"))}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return own | {"ATO_WAREHOUSE": str(data / "warehouse"), "PYTHONPATH": os.pathsep.join(paths)} | more


def call(data: Path, function: str, *arguments: Any, **variables: str) -> Any:
    """What ``module:function`` returns there, given and giving what JSON can hold.

    Args:
        data: the folder whose ``warehouse`` it works on.
        function: the process begins with importing its module.
        variables: of its environment.

    Raises:
        RuntimeError: it fails.
    """
    request = json.dumps([*function.split(":"), *arguments])
    done = subprocess.run(
        [sys.executable, "-c", _CALL, request],
        cwd=ROOT,
        env=environment(data, **variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.split("nanobind: ")[0]  # what DuckDB leaves behind at the exit of a process
        raise RuntimeError(f"{function} failed: {said[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
