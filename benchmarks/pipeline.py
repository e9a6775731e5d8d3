"""The whole pipeline on the embedded model: seconds of each stage, and how they grow with tokens, layers and leaps.

Each study runs in a warehouse of its own in a temporary folder, by the tasks that the flows call; the time of Prefect
itself is left out, and so are published explanations, which need a network. What each stage takes whatever the number
of tokens (imports, loading the model, checks) is drawn from the two larger studies: the line through both, at no token.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measurement import Measurement, growth, plain
from benchmarks.program import run
from benchmarks.timing import seconds
from flows.settings import Settings

Times = dict[str, float]
"""Stage -> seconds."""
FITTING = ("collect", "operators")
"""The stages that a further layer or leap is work for."""
ALL = ("collect", "saes", "features", "feature scores", "operators", "evaluate", "causal", "report")


def measure(quick: bool) -> Iterator[Measurement]:
    """Studies of 1, 4 and 16 times the tokens, then small ones of more layers and of more leaps; quick: some stages only."""
    from tasks.engine.progress import terminal

    terminal.quiet = True
    stages: tuple[str, ...]
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            base, tokens, stages = _small_base(Path(folder)), [1_500, 3_000], FITTING
        else:
            base, tokens, stages = _embedded_base(), [6_000, 24_000, 96_000], ALL
            _times(base, Path(folder, "warm"), _of_tokens(tokens[0]), FITTING)  # imports, once
        studies = [_times(base, Path(folder, f"tokens-{n}"), _of_tokens(n), stages) for n in tokens]
        yield from _by_tokens(tokens, studies)
        source, leap = base["operators"]["source_layers"][0], base["operators"]["leaps"][0]
        pairs = {
            "pair": ([source], [leap]),
            "leap": ([source], [leap * k for k in (1, 2, 3, 4)]),
            "source layer": ([source + leap * k for k in range(4)], [leap]),
        }
        first: Times = {}
        for name, (sources, leaps) in list(pairs.items())[: 2 if quick else 3]:
            changes = _of_tokens(tokens[0]) | {"operators": {"source_layers": sources, "leaps": leaps}}
            times = _times(base, Path(folder, name), changes, FITTING)
            first = first or times
            for stage in FITTING if times is not first else ():
                further = (times[stage] - first[stage]) / (len(sources) * len(leaps) - 1)
                what = f"{stage}: a further {name}, {tokens[0]:,} tokens"
                yield growth(what, "s", further, "the first pair", first[stage])


def _by_tokens(tokens: list[int], studies: list[Times]) -> Iterator[Measurement]:
    *_, few, many = studies
    factor = tokens[-1] / tokens[-2]
    for n, times in zip(tokens, studies, strict=True):
        yield plain(f"all stages, {n:,} tokens", "s", sum(times.values()))
        yield from (plain(f"{stage}, {n:,} tokens", "s", taken) for stage, taken in times.items())
    for stage in many:
        fixed = few[stage] - (many[stage] - few[stage]) / (factor - 1)
        yield plain(f"{stage}: at no token", "s", max(fixed, 0.0))
        what = f"{stage}: {factor:g} times the tokens, {tokens[-1]:,}"
        yield growth(what, "s", many[stage], f"{tokens[-2]:,} tokens", few[stage])
    what = f"all stages: {factor:g} times the tokens, {tokens[-1]:,}"
    yield growth(what, "s", sum(many.values()), f"{tokens[-2]:,} tokens", sum(few.values()), at_most=factor)


def _of_tokens(n: int) -> dict[str, dict[str, Any]]:
    """What grows with the text: tokens collected, trained on and looked at."""
    return {"collect": {"n_tokens": n}, "saes": {"n_tokens": 2 * n}, "features": {"n_tokens": n // 2}}


def _embedded_base() -> dict[str, dict[str, Any]]:
    return {
        "model": {"name": "smollm2-135m"},
        "collect": {"corpus": "sotu", "max_sequences_per_document": 4, "n_folds": 2, "layers": [10, 12, 14, 16, 18]},
        "saes": {"layers": [14], "d_sae": 512, "k": 16},
        "operators": {"source_layers": [10, 12], "leaps": [2, 4]},
        "features": {"ablation_sequences": 1, "ablation_tokens": 16, "candidate_percent": 5},
        "causal": {"n_sequences": 2, "positions": ["10,50,70,100,120", "all"], "n_features": 1},
    }


def _small_base(folder: Path) -> dict[str, dict[str, Any]]:
    """A small random model and random words, in files."""
    from benchmarks.shaped_model import SMALL, shaped_model

    model = shaped_model(SMALL, device="cpu", dtype="float32")
    module: Any = model.module
    module.save_pretrained(folder / "model")
    model.tokenizer.save_pretrained(folder / "model")
    rng = np.random.default_rng(0)
    texts = (" ".join(rng.choice(["peace", "war", "and", "the", "union"], 100)) for _ in range(60))
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return {
        "model": {"name": str(folder / "model"), "dtype": "float32"},
        "collect": {
            "corpus": str(folder / "corpus.jsonl"),
            "seq_len": 32,
            "min_len": 8,
            "n_folds": 2,
            "layers": [0, 1, 2, 3, 4],
            "max_sequences_per_document": 6,
            "max_norm_multiple": None,
        },
        "saes": {"layers": [2], "d_sae": 64, "k": 4, "batch_size": 256, "judge_sequences": 2},
        "operators": {"source_layers": [0, 1], "leaps": [1, 2], "train_fractions": [], "register_operators": False},
        "features": {"ablation_sequences": 1, "ablation_tokens": 8, "candidate_percent": 5},
        "evaluate": {"ranks": [4]},
        "causal": {"n_sequences": 2, "positions": ["3"], "n_features": 1},
    }


def _times(
    base: dict[str, dict[str, Any]], folder: Path, changes: dict[str, dict[str, Any]], stages: tuple[str, ...]
) -> Times:
    """Seconds of each stage of a study in a new warehouse."""
    settings = Settings.model_validate(
        {name: {**base.get(name, {}), **changes.get(name, {})} for name in {**base, **changes}}
    )
    before = os.environ.get("ATO_WAREHOUSE")
    os.environ["ATO_WAREHOUSE"] = str(folder / "warehouse")
    try:
        return {stage: seconds(work)[0] for stage, work in stage_calls(settings).items() if stage in stages}
    finally:
        if before is None:
            del os.environ["ATO_WAREHOUSE"]
        else:
            os.environ["ATO_WAREHOUSE"] = before


def stage_calls(s: Settings) -> dict[str, Callable[[], Any]]:
    """The tasks of the flows in order; each finds what those before it returned."""
    from tasks.causal.task import measure_causal
    from tasks.collect.task import collect_residuals
    from tasks.evaluate.task import evaluate_operators
    from tasks.features.task import measure_features, score_features
    from tasks.operators.task import fit_operators
    from tasks.report.task import write_report
    from tasks.saes.task import obtain_saes

    made: dict[str, Any] = {"saes": []}

    def collect() -> None:
        made["collection"] = collect_residuals.fn(s.model, s.collecting, s.layers, s.operators)

    def saes() -> None:
        made["saes"] = obtain_saes.fn(s.study(made["collection"]), s.saes)

    def study(task: Any, *arguments: Any) -> Callable[[], Any]:
        return lambda: task.fn(s.study(made["collection"]), made["saes"], *arguments)

    return {
        "collect": collect,
        "saes": saes,
        "features": study(measure_features),
        "feature scores": study(score_features, s.features),
        "operators": study(fit_operators, s.operators),
        "evaluate": study(evaluate_operators, s.operators, s.evaluate),
        "causal": study(measure_causal, s.operators, s.causal),
        "report": lambda: write_report.fn(made["collection"], s.report),
    }


if __name__ == "__main__":
    sys.exit(run("pipeline", measure, __doc__))
