"""Picture of one prompt's graph: its most influential features by layer and token, with edges by attribution and by transport.

Both halves have the same features and the same scale, so that a line of the left half that is missing on the right is
what operators do not carry.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ato.errors import InputError, UnavailableError
from ato.text.display import visible
from tasks.report.drawing import COLOURS, INK, MUTED, WIDTH, png
from tasks.report.panels import Rows, text
from warehouse.catalog.catalog import rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEATURES = 5
"""Features of a layer that are shown, the most influential."""
FAINTEST = 0.02
"""Share of what goes into its target below which an edge is not drawn."""
_HALVES = {"attribution": "Attribution: the model at this prompt", "transport": "Transport: ridge operators"}
_ROOM, _STEP = 10, 0.14
"""Names that fit beside each other, and by how much more are apart in height."""
_COLOURS = 48
"""Of the file: a fifth of the bytes, and no difference to the eye."""
_NODE = ("kind", "layer", "feature_id", "position", "token", "activation")


class Node(NamedTuple):
    """A feature or a logit."""

    kind: str
    layer: int
    feature_id: int | None
    position: int
    token: str
    activation: float


def edges_sql(graph_set: str, n_features: int = FEATURES) -> str:
    """A select of the edges between the most influential features of a prompt's attribution graph, and into its logits.

    ``attribution`` and ``transport`` are shares of the summed magnitudes of all edges into the target; transport is NULL
    where no operator joins the layers.
    """
    ends = ", ".join(
        f"{end}.{name} as {side}_{name}" for end, side in (("s", "source"), ("t", "target")) for name in _NODE
    )
    return f"""with own as (
    from graph_nodes where graph_set = {text(graph_set)} and graph_kind = 'attribution'
), shown as (
    from own where kind in ('feature', 'logit')
    qualify row_number() over (partition by layer order by influence, node) <= {n_features}
)
select {ends}, e.weight / t.absolute_weight as attribution, e.transport_weight / t.absolute_weight as transport
from graph_edges as e
inner join shown as s on s.node = e.source and s.kind = 'feature'
inner join shown as t on t.node = e.target
where e.graph_set = {text(graph_set)} and e.graph_kind = 'attribution' and t.absolute_weight > 0
order by abs(e.weight), e.source, e.target"""


def draw(figure: "Figure", edges: Rows) -> None:
    """Draw the rows of ``edges_sql`` on an empty figure."""
    nodes = sorted({_end(edge, side) for edge in edges for side in ("source", "target")}, key=str)
    places = _places(nodes)
    levels = sorted({node.layer for node in nodes})
    figure.set_size_inches(WIDTH, 1.1 + 0.95 * len(levels))
    grid = figure.subplots(1, 2, sharey=True)
    for axes, (column, title) in zip(grid, _HALVES.items()):
        for edge in edges:
            _line(axes, places[_end(edge, "source")], places[_end(edge, "target")], edge[column])
        for node, (x, y) in places.items():
            label = f"{visible(node.token)}\n{node.activation:.2f}" if node.kind == "logit" else str(node.feature_id)
            box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": MUTED, "linewidth": 0.7}
            axes.text(x, y, label, ha="center", va="center", fontsize=7, bbox=box, zorder=3)
        axes.set_title(title)
        axes.grid(False)
        axes.set_xlim(-0.9, max(x for x, _ in places.values()) + 0.9)
        axes.set_ylim(-0.5, len(levels) - 0.5)
        _name_tokens(axes, nodes, places)
        axes.tick_params(length=0)
    names = {node.layer: "logit" if node.kind == "logit" else f"layer {node.layer}" for node in nodes}
    grid[0].set_yticks(range(len(levels)), [names[level] for level in levels])


def save_picture(path: Path, graph_set: str) -> None:
    """Write the picture of a prompt's graphs as a PNG file.

    Raises:
        InputError: no attribution graph, or one whose features have no edges.
        UnavailableError: the file cannot be written.
    """
    from PIL import Image

    found = rows(None, edges_sql(graph_set))
    if not found:
        raise InputError("no edges of an attribution graph to draw", where=graph_set, cure="raise graphs.max_features")
    try:
        with Image.open(io.BytesIO(png("graph", draw, found))) as whole:
            whole.quantize(_COLOURS).save(path, format="png", optimize=True)
    except OSError as error:
        raise UnavailableError(f"cannot write the picture: {error.strerror}", where=path) from error


def _end(edge: dict[str, Any], side: str) -> Node:
    return Node(*(edge[f"{side}_{name}"] for name in _NODE))


def _places(nodes: list[Node]) -> dict[Node, tuple[float, float]]:
    """Where nodes stand: layers above each other, tokens side by side, those of one layer and token in a row."""
    levels = {layer: height for height, layer in enumerate(sorted({node.layer for node in nodes}))}
    cells: dict[tuple[int, int], list[Node]] = {}
    for node in nodes:
        cells.setdefault((node.position, node.layer), []).append(node)
    found: dict[Node, tuple[float, float]] = {}
    start = 0.0
    for position in sorted({node.position for node in nodes}):
        widest = max(len(cell) for (at, _), cell in cells.items() if at == position)
        for (at, layer), cell in cells.items():
            if at == position:
                cell.sort(key=lambda node: (node.feature_id is None, node.feature_id, node.token))
                left = start + (widest - len(cell)) / 2
                found |= {node: (left + i, levels[layer]) for i, node in enumerate(cell)}
        start += widest
    if start <= _ROOM:
        return found
    # Neighbours are a little apart in height, so that their names do not overlap.
    return {node: (x, y + (node.kind == "feature") * _STEP * (round(x) % 3 - 1)) for node, (x, y) in found.items()}


def _line(axes: "Axes", source: tuple[float, float], target: tuple[float, float], share: float | None) -> None:
    if share is None or abs(share) < FAINTEST:
        return
    colour = COLOURS[0] if share > 0 else COLOURS[5]
    (x0, y0), (x1, y1) = source, target
    axes.plot([x0, x1], [y0, y1], color=colour, linewidth=0.5 + 9 * abs(share), alpha=0.65, solid_capstyle="round")


def _name_tokens(axes: "Axes", nodes: list[Node], places: dict[Node, tuple[float, float]]) -> None:
    """Tokens below their features, with lines between them."""
    tokens = {node.position: node.token for node in nodes if node.kind != "logit"}
    spans = {at: [places[node][0] for node in nodes if node.position == at] for at in sorted(tokens)}
    axes.set_xticks([(min(xs) + max(xs)) / 2 for xs in spans.values()], [visible(tokens[at]) for at in spans])
    for xs in list(spans.values())[:-1]:
        axes.axvline(max(xs) + 0.5, color=INK, linewidth=0.4, alpha=0.3)
