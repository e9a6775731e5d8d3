"""Attribution graphs: many targets in one backward pass to the nearest cut, against one pass a target through the model.

Both take the same frozen model and must agree. Seconds and peak memory of whole graphs are those of prompts of several
lengths; memory is that of a fresh process, the model included.
"""

import sys
from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from ato.graphs.attribution import Attribution, attribute
from ato.graphs.checks import check_conservation
from ato.graphs.local_model import Dictionary
from ato.models.language_model import LanguageModel
from ato.saes.autoencoder import SparseAutoencoder
from benchmarks.measurement import Measurement, plain, speedup, within
from benchmarks.program import run
from benchmarks.shaped_model import SMALL, shaped_model
from benchmarks.timing import peak_memory, seconds, side_by_side

SHAPE = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "vocab_size": 49_152,
}
"""HuggingFaceTB/SmolLM2-135M."""
LARGEST_DIFFERENCE = 1e-4
"""Of an edge, relative to the largest."""


def graphs_benchmark(quick: bool) -> Iterator[Measurement]:
    """Figures at the shape of SmolLM2-135M with three SAEs."""
    lengths, budget, looped = ((8,), 20, 4) if quick else ((8, 32, 128), 100, 6)
    model, saes = parts(quick)
    what = f"{model.n_layers} layers, {len(saes)} SAEs, {budget} features"
    for length in lengths:
        made = graph(quick, length, budget)
        nodes = made.selected[:: max(len(made.selected) // looped, 1)][:looped]
        passed = recorded(made)
        agree(made, nodes, one_by_one(made, passed, nodes))
        ours, above, below = side_by_side(
            partial(all_rows, made),
            partial(one_by_one, made, passed, nodes, whole=True),
            partial(one_by_one, made, passed, nodes),
            rounds=1 if quick else 3,
        )
        scale = len(made.selected) / len(nodes)
        figure = f"edges of {what}, {length} tokens"
        plainly = f"a pass a target through the model ({len(nodes)} targets, scaled)"
        yield speedup(figure, ours, plainly, above * scale, at_least=3)
        yield speedup(figure, ours, "a pass a target from it to the embeddings", below * scale)
    for length in lengths:
        taken, made = seconds(partial(graph, quick, length, budget))
        edges = len(made.graph.weight)
        yield plain(f"graph of {length} tokens, {what}, {edges:,} edges", "s", taken)
        yield plain(
            f"peak memory of a graph of {length} tokens",
            "MiB",
            *peak_memory("benchmarks.graphs:make", (str(quick), length, budget)),
        )
    yield linear(quick, lengths[-1], [budget // 2, budget, 2 * budget, 4 * budget])


def linear(quick: bool, length: int, budgets: list[int]) -> Measurement:
    """Exponent of the time of graphs of one prompt in the number of their features."""
    taken = side_by_side(*(partial(graph, quick, length, budget) for budget in budgets), rounds=1)
    exponent = np.polyfit(np.log(budgets), np.log(taken), 1)[0]
    what = f"exponent of a graph's time in its features, {length} tokens, {budgets[0]} to {budgets[-1]} features"
    return within(what, "", exponent, at_most=1.1)


@cache
def parts(quick: bool) -> tuple[LanguageModel, dict[int, Dictionary]]:
    """A random model and SAEs of three of its layers, TopK of 32."""
    model = shaped_model(SMALL if quick else SHAPE, device="cpu", dtype="float32")
    width = 256 if quick else 4096
    layers = [model.n_layers * part // 4 for part in (1, 2, 3)]
    return model, {layer: random_sae(model.d_model, width, layer) for layer in layers}


def random_sae(d: int, width: int, seed: int) -> SparseAutoencoder:
    """A TopK SAE whose decoder is its encoder turned over."""
    rows = torch.nn.functional.normalize(torch.randn(width, d, generator=torch.Generator().manual_seed(seed)), dim=1)
    return SparseAutoencoder("topk", rows.T.contiguous(), torch.zeros(width), rows, torch.zeros(d), k=32)


def graph(quick: bool, length: int, budget: int) -> Attribution:
    """A graph of a random prompt, whose sums are checked."""
    model, saes = parts(quick)
    made = attribute(model, prompt(length), saes, max_features=budget)
    check_conservation(made.graph, "float32")
    return made


def make(quick: str, length: str, budget: str) -> None:
    """The same from a command line."""
    graph(quick == "True", int(length), int(budget))


def prompt(length: int) -> list[int]:
    """Random bytes after a BOS."""
    return [1, *np.random.default_rng(0).integers(3, 259, size=length - 1).tolist()]


def all_rows(made: Attribution, batch: int = 32) -> None:
    """Edges into the selected features, as ``attribute`` computes them."""
    cuts = made.sources.cut[made.selected]
    for cut in range(len(made.sources.local.layers)):
        rows = made.selected[cuts == cut]
        for start in range(0, len(rows), batch):
            made.sources.into_features(cut, rows[start : start + batch])


def recorded(made: Attribution) -> tuple[Tensor, list[Tensor], Tensor]:
    """Embeddings, streams at the cuts and last state of the frozen model without cuts, with gradients."""
    local = made.sources.local
    stream = local.values.stream.clone().requires_grad_()
    with local.frozen.applied():
        hook = local.model.blocks[0].register_forward_pre_hook(lambda block, args: (stream, *args[1:]))
        try:
            ids = torch.tensor([local.token_ids])
            found = local.model.forward(ids, None, read=local.layers, gradients=True)
        finally:
            hook.remove()
    return stream, [found.residuals[layer] for layer in local.layers], found.hidden


def one_by_one(
    made: Attribution, passed: tuple[Tensor, list[Tensor], Tensor], rows: np.ndarray, whole: bool = False
) -> list[np.ndarray]:
    """Edges into features from those of the cut below, by a backward pass each down to the embeddings.

    With ``whole`` from the last state, where the gradient is 0, as where the target is added by a hook (nathanhu0/
    transcoder-adapters): targets of all layers then go one way.
    """
    sources, local = made.sources, made.sources.local
    stream, at, hidden = passed
    found = []
    for row in rows:
        cut = int(sources.cut[row])
        encoder, _ = local.encoder_rows(cut, torch.tensor([sources.feature[row]]))
        upstream = torch.zeros_like(at[cut])
        upstream[0, sources.position[row]] = encoder[0]
        outputs = [at[cut], hidden] if whole else [at[cut]]
        given = [upstream, torch.zeros_like(hidden)] if whole else [upstream]
        gradients = torch.autograd.grad(outputs, [stream, *at[:cut]], given, retain_graph=True)
        columns = sources.columns(cut)
        positions = torch.from_numpy(sources.position[columns])
        decoder = local.dictionaries[max(cut - 1, 0)].W_dec[torch.from_numpy(sources.feature[columns])]
        slopes = (gradients[-1][0, positions] * decoder).sum(1).numpy()
        found.append(sources.activation[columns] * slopes)
    return found


def agree(made: Attribution, rows: np.ndarray, expected: list[np.ndarray]) -> None:
    """Refuse edges that differ from those of one pass each."""
    for row, other in zip(rows, expected, strict=True):
        own = made.sources.into_features(int(made.sources.cut[row]), np.array([row])).features[0]
        gap = np.abs(own - other).max(initial=0.0) / max(np.abs(other).max(initial=0.0), 1e-30)
        assert gap <= LARGEST_DIFFERENCE, f"edges into feature {row} differ by {gap:.1e}"


if __name__ == "__main__":
    sys.exit(run("graphs", graphs_benchmark, __doc__))
