"""Collection (exclusion, float32, Parquet, hashes, fsync) against the bare forward pass of the same layers, in one run.

python benchmarks/collect.py                 # the demo model and layers
python benchmarks/collect.py --model MODEL --layers 4 8 12 --tokens 40000
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flows.environment import prepare_environment

prepare_environment()

from ato.models import LanguageModel, load_model, pad  # noqa: E402
from ato.text import Sequence, make_sequences  # noqa: E402
from flows.settings import load_settings  # noqa: E402
from tasks.collecting import CollectingSource  # noqa: E402
from tasks.settings import CollectSettings  # noqa: E402
from tasks.stage import Stage  # noqa: E402
from warehouse.corpora import read_documents  # noqa: E402
from warehouse.store import Warehouse  # noqa: E402

TARGET = 0.85


def bare_pass(model: LanguageModel, sequences: list[Sequence], layers: tuple[int, ...], batch_size: int) -> None:
    """The blocks up to the highest layer, residuals read by hooks and thrown away."""
    for start in range(0, len(sequences), batch_size):
        model.residuals(*pad([s.token_ids for s in sequences[start : start + batch_size]]), layers)


def collection(model: LanguageModel, settings: CollectSettings, layers: tuple[int, ...]) -> Callable[[], None]:
    """A pass of the source that a collection is made with, into a warehouse of its own; cutting text is not timed."""
    folder = tempfile.TemporaryDirectory()
    stage = Stage(Warehouse(Path(folder.name) / "warehouse"), "collect", "benchmark", settings={}, inputs=[])
    source = CollectingSource(stage, model, settings, layers)

    def run() -> None:
        for _ in source.blocks():
            pass
        folder.cleanup()

    return run


def seconds(work: Callable[[], None]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Interleave the two and print the ratio of each round and their median."""
    demo = load_settings("demo")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=demo.model.name)
    parser.add_argument("--layers", type=int, nargs="+", default=demo.layers)
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    layers = tuple(sorted(arguments.layers))
    settings = demo.collect.model_copy(update={"n_tokens": arguments.tokens})
    model = load_model(arguments.model)
    sequences = list(
        make_sequences(
            read_documents(settings.corpus), model.tokenizer, seq_len=settings.seq_len, n_tokens=settings.n_tokens,
            max_sequences_per_document=settings.max_sequences_per_document, min_len=settings.min_len,
            split_seed=0, n_folds=settings.n_folds,
        )
    )  # fmt: skip
    n_tokens = sum(len(s.token_ids) for s in sequences)
    print(
        f"{model.identity.model}, {str(model.dtype).removeprefix('torch.')}, layers {list(layers)}, {n_tokens:,} tokens"
    )
    bare_pass(model, sequences[: settings.batch_size], layers, settings.batch_size)  # warm up
    ratios = []
    print(f"{'round':>5} {'bare forward, tokens/s':>24} {'collection, tokens/s':>22} {'ratio':>7}")
    for number in range(arguments.rounds):
        collect = collection(model, settings, layers)
        bare = seconds(lambda: bare_pass(model, sequences, layers, settings.batch_size))
        ours = seconds(collect)
        ratios.append(bare / ours)
        print(f"{number:>5} {n_tokens / bare:>24,.0f} {n_tokens / ours:>22,.0f} {ratios[-1]:>7.3f}")
    print(
        f"median ratio {statistics.median(ratios):.3f} (target {TARGET}: {'met' if statistics.median(ratios) >= TARGET else 'missed'})"
    )


if __name__ == "__main__":
    main()
