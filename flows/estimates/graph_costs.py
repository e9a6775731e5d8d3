"""Work of graphs, counted as in ``flows.estimates.stage_costs``."""

from ato.models.shapes import ModelShape
from flows.estimates.sizes import sae_widths
from flows.estimates.stage_costs import StageWork, model_bytes
from flows.settings import Settings

TOKENS = 16
"""Of a prompt, about: the texts are tokenised later."""
BACKWARD = 2
"""Work of a backward pass over that of a forward pass."""
EDGE_BYTES = 24
NODE_BYTES = 40
HEAD_BYTES = 60
"""Bytes of a row of ``graph_heads``."""
HEADS = 16
D_HEAD = 64
"""Of a model, about."""
FILE_BYTES = 150
"""Bytes of an edge in a graph's JSON file."""
PROMPT_SECONDS = 1.0
"""Of a prompt beside its passes: pruning, rows, files."""


def graphs_work(settings: Settings, shape: ModelShape) -> StageWork:
    """A backward pass a target through the blocks between two sites, twice where graphs are repeated; ablations; tracing.

    A traced edge takes two backward passes and two forward ones, a traced score a backward pass a number of its query
    and of its key.
    """
    s = settings.graphs
    n, widths = n_prompts(settings), sae_widths(settings)
    layers = [layer for layer in widths if s.layers is None or layer in s.layers]
    between = shape.forward_flops(max(shape.n_layers // max(len(layers), 1), 1))
    attributed = "attribution" in s.kinds
    targets = s.max_features + s.max_targets if attributed else 0
    traced = s.n_traced_edges * (2 * BACKWARD + 2) + s.n_traced_scores * 2 * D_HEAD * BACKWARD
    passes = targets * BACKWARD * (1 + s.repeat) + (s.n_ablations + traced) * attributed + 3
    active = TOKENS * settings.saes.k * max(len(layers), 1)
    heads = s.n_traced_edges * shape.n_layers * HEADS * attributed
    edges = targets * min(s.max_features, active)
    return StageWork(
        forward=n * passes * TOKENS * between,
        seconds=n * PROMPT_SECONDS,
        memory_bytes=model_bytes(settings, shape)
        + sum(8 * shape.d_model * widths[layer] for layer in layers)
        + 8 * targets * active
        + 4 * s.batch_size * TOKENS * shape.d_model * shape.n_layers,
        disk_bytes=n * (edges * (EDGE_BYTES + FILE_BYTES) + active * NODE_BYTES + heads * HEAD_BYTES),
    )


def n_prompts(settings: Settings) -> int:
    """Prompts of the settings; of a folder the text files."""
    from pathlib import Path

    s = settings.graphs
    folder = None if s.prompts_from is None else Path(s.prompts_from).expanduser()
    of_files = 0 if folder is None else len(list(folder.glob("*.txt"))) if folder.is_dir() else 1
    return len(s.prompts) + of_files
