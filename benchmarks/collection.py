"""Collection (exclusion, float32, Parquet, hashes, fsync) against the bare forward pass and two ways of caching.

- limit: transformers' own body pass over the same sequences, batch by batch, up to the same layer, residuals read by
  hooks and thrown away;
- peer: transformers with ``output_hidden_states=True``, and ``np.save`` of each batch's layers (neither hashed nor
  flushed, nothing left out, no keys);
- peer: sae-lens' ``CacheActivationsRunner``, which stores one layer a run. It is given the model in memory, wrapped as
  its own ``HookedProxyLM``, and a local data set of the same token ids: nothing is downloaded.

Memory is that of a process of its own that collects all layers, at two numbers of tokens.
"""

import json
import random
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measurement import Measurement, growth, plain, rate
from benchmarks.program import run
from benchmarks.timing import peak_memory, side_by_side

MODEL = "smollm2-135m"
MEMORY_TOKENS = (16_384, 49_152)


@dataclass(frozen=True)
class Case:
    """A model, what it is run over, and the settings of the collection."""

    model: Any
    settings: Any
    sequences: list[Any]

    @property
    def n_tokens(self) -> int:
        """Tokens of all sequences."""
        return sum(len(s.token_ids) for s in self.sequences)

    @property
    def batches(self) -> list[list[np.ndarray]]:
        """Token ids, longest first within a batch's split, as the collection takes them."""
        size = self.settings.batch_size
        ids = sorted((s.token_ids for s in self.sequences), key=len, reverse=True)
        return [ids[start : start + size] for start in range(0, len(ids), size)]


@cache
def loaded_model(quick: bool) -> Any:
    """The embedded model, or a random one of six small blocks."""
    from ato.models import load_model
    from benchmarks.shaped_model import SMALL, shaped_model

    return shaped_model(SMALL) if quick else load_model(MODEL)


def make_case(quick: bool, n_tokens: int, folder: Path) -> Case:
    """Sequences of words drawn at random, in documents; what they say does not matter to the cost."""
    from ato.text.sequences import make_sequences
    from flows.settings import load_settings
    from warehouse.datasets.corpora import read_documents

    draw = random.Random(0)
    words = ["state", "union", "peace", "people", "the", "of", "and", "law", "year", "nation", "war", "commerce"]
    corpus = folder / "corpus.jsonl"
    length = 45 if quick else 270  # two sequences of 128 tokens and a bit: one token a byte, or about one a word
    texts = (" ".join(draw.choices(words, k=length)) for _ in range(n_tokens // 128))
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    settings = load_settings("demo").collect.model_copy(update={"corpus": str(corpus), "n_tokens": n_tokens})
    model = loaded_model(quick)
    sequences = make_sequences(
        read_documents(settings.corpus, settings.text_field),
        model.tokenizer,
        seq_len=settings.seq_len,
        n_tokens=n_tokens,
        max_sequences_per_document=settings.max_sequences_per_document,
        min_len=settings.min_len,
        split_seed=settings.split_seed,
        n_folds=settings.n_folds,
    )
    return Case(model, settings, list(sequences))


def bare_pass(case: Case, layers: tuple[int, ...]) -> None:
    """The model's body up to the highest layer, hooks that read the layers and keep nothing."""
    from ato.models import pad

    class Reached(Exception):
        """Thrown by the hook of the highest layer: nothing above it is run."""

    def stop(block: object, args: object, output: object) -> None:
        raise Reached

    model = case.model
    hooks = [model.blocks[layer].register_forward_hook(lambda block, args, output: None) for layer in layers[:-1]]
    hooks.append(model.blocks[layers[-1]].register_forward_hook(stop))
    try:
        for batch in case.batches:
            ids, lengths = pad(batch)
            mask = torch.arange(ids.shape[1]) < lengths[:, None]
            try:
                with torch.no_grad():
                    model.parts.body(
                        input_ids=ids.to(model.device), attention_mask=mask.long().to(model.device), use_cache=False
                    )
            except Reached:
                continue
    finally:
        for hook in hooks:
            hook.remove()


class Collection:
    """A collection in a folder of its own whose text is cut into sequences already: a pass is all that is left."""

    def __init__(self, case: Case, layers: tuple[int, ...]):
        from tasks.collect.shard_source import CollectingSource
        from warehouse.storage.warehouse import Warehouse

        self._folder = tempfile.TemporaryDirectory()
        warehouse = Warehouse(Path(self._folder.name))
        self._source = CollectingSource(warehouse, "benchmark", case.model, case.settings, layers)

    def run(self) -> None:
        """Run the model over all shards and store them."""
        from ato.residuals import run_pass

        run_pass(self._source, [])

    def remove(self) -> int:
        """Remove what was stored; returns the bytes of the activations."""
        size = sum(path.stat().st_size for path in Path(self._folder.name, "activations").rglob("*.parquet"))
        self._folder.cleanup()
        return size


def save_hidden_states(case: Case, layers: tuple[int, ...], folder: Path) -> None:
    """What a script does: all hidden states of a batch, those of the layers saved as float32 arrays."""
    from ato.models import pad

    for number, batch in enumerate(case.batches):
        ids, lengths = pad(batch)
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        with torch.no_grad():
            states = case.model.parts.body(
                input_ids=ids.to(case.model.device),
                attention_mask=mask.long().to(case.model.device),
                use_cache=False,
                output_hidden_states=True,
            ).hidden_states
        for layer in layers:
            np.save(folder / f"{layer}-{number}.npy", states[layer + 1].float().cpu().numpy()[mask.numpy()])


def full_sequences(case: Case) -> list[list[int]]:
    """Token ids of as many whole batches of sequences of full length as there are."""
    full = [s.token_ids.tolist() for s in case.sequences if len(s.token_ids) == case.settings.seq_len]
    return full[: len(full) // case.settings.batch_size * case.settings.batch_size]


def cache_with_sae_lens(case: Case, layer: int, folder: Path) -> None:
    """One layer, by sae-lens: full sequences only, since it takes no shorter ones."""
    from unittest.mock import patch

    from datasets import Dataset
    from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig
    from sae_lens.load_model import HookedProxyLM

    (name,) = (name for name, module in case.model.module.named_modules() if module is case.model.blocks[layer])
    size, full = case.settings.seq_len, full_sequences(case)
    config = CacheActivationsRunnerConfig(
        dataset_path="",
        model_name="",
        model_class_name="AutoModelForCausalLM",
        model_batch_size=case.settings.batch_size,
        hook_name=name,
        d_in=case.model.d_model,
        training_tokens=len(full) * size,
        context_size=size,
        new_cached_activations_path=str(folder / "sae-lens"),
        shuffle=False,
        device=str(case.model.device),
        buffer_size_gb=1.001 * len(full) * size * case.model.d_model * 4 / 1e9,
        prepend_bos=False,
        streaming=False,
    )
    proxy = HookedProxyLM(case.model.module, case.model.tokenizer, hook_names=[name])
    with patch("sae_lens.cache_activations_runner.load_model", return_value=proxy):  # it loads by name only
        CacheActivationsRunner(config, override_dataset=Dataset.from_dict({"input_ids": full})).run()


def measure(quick: bool) -> Iterator[Measurement]:
    """Yield the figures."""
    n_tokens, rounds = (2_048, 1) if quick else (8_192, 3)
    with tempfile.TemporaryDirectory() as folder:
        case = make_case(quick, n_tokens, Path(folder))
        n_layers = case.model.n_layers
        some = sorted({round(n_layers * share) for share in (0.27, 0.33, 0.4, 0.47, 0.53)})
        warm = Collection(case, (n_layers - 1,))
        warm.run()
        warm.remove()
        for layers in ((n_layers // 2,), tuple(some)):
            yield from compare(case, layers, rounds)
        yield from beside_sae_lens(case, n_layers // 2, rounds)
        # Shards are written one behind the model: only with several of them is the last one's writing a small part.
        longer = make_case(quick, 4 * n_tokens, Path(folder))
        yield from compare(longer, tuple(range(n_layers)), 1 if quick else 2)
    if not quick:
        few, many = peak_memory("benchmarks.collection:collect_all", *((n,) for n in MEMORY_TOKENS))
        what = f"peak memory of collecting {n_layers} layers, {MEMORY_TOKENS[1]:,} tokens"
        yield growth(
            what,
            "MiB",
            many,
            f"{MEMORY_TOKENS[0]:,} tokens",
            few,
            at_most=1.1,
            why_missed=(
                "one shard is in memory at a time, and both runs have a full one; what is above it is what the allocator keeps "
                "of batches of several lengths"
            ),
        )


def compare(case: Case, layers: tuple[int, ...], rounds: int) -> Iterator[Measurement]:
    """Tokens and bytes a second, against the limit and against saved hidden states, the three taking turns."""
    n = case.n_tokens
    collections = [Collection(case, layers) for _ in range(rounds)]
    waiting, written = iter(collections), []
    with tempfile.TemporaryDirectory() as folder:

        def remove() -> None:
            written.append(collections[len(written)].remove())
            for path in Path(folder).iterdir():
                path.unlink()

        collecting, saving, bare = side_by_side(
            lambda: next(waiting).run(),
            lambda: save_hidden_states(case, layers, Path(folder)),
            lambda: bare_pass(case, layers),
            rounds=rounds,
            after_round=remove,
        )
    what = f"collection, {len(layers)} of {case.model.n_layers} layers, {n:,} tokens"
    least = 0.9 if len(layers) == case.model.n_layers else None
    yield rate(
        what,
        "tokens/s",
        n / collecting,
        "the bare forward pass",
        n / bare,
        at_least=least,
        why_missed=(
            "hashing and copying to the disk's cache take 5 % of the processor's time, gathering, widening and norms inside "
            "the hook a few more, all on the very cores that run the model; one encoding serves all layers of a shard, and the "
            "model waits while they are written, since its threads beside a writer's wait for one another"
        ),
    )
    yield rate(what, "tokens/s", n / collecting, "output_hidden_states and np.save", n / saving)
    yield plain(what, "B/s", written[-1] / collecting)


def beside_sae_lens(case: Case, layer: int, rounds: int) -> Iterator[Measurement]:
    """Tokens a second of both, over the tokens that each runs."""
    full = len(full_sequences(case)) * case.settings.seq_len
    collections = [Collection(case, (layer,)) for _ in range(rounds)]
    waiting = iter(collections)

    def peer() -> None:
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cache_with_sae_lens(case, layer, Path(folder))

    collecting, caching = side_by_side(lambda: next(waiting).run(), peer, rounds=rounds)
    for collection in collections:
        collection.remove()
    yield rate(
        f"collection, layer {layer}",
        "tokens/s",
        case.n_tokens / collecting,
        "sae-lens' CacheActivationsRunner",
        full / caching,
    )


def collect_all(n_tokens: str) -> None:
    """What ``peak_memory`` runs."""
    from flows.engine.environment import make_data_folder, prepare_environment

    prepare_environment()
    make_data_folder()
    with tempfile.TemporaryDirectory() as folder:
        case = make_case(False, int(n_tokens), Path(folder))
        collection = Collection(case, tuple(range(case.model.n_layers)))
        collection.run()
        collection.remove()


if __name__ == "__main__":
    sys.exit(run("collection", measure, __doc__))
