"""The files of a prompt's graphs: JSON for circuit-tracer's page and Neuronpedia, with a panel of each feature beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ato.features.exports.feature_page import FeaturePage
from ato.graphs.circuit_tracer import Captions, write_graph
from ato.graphs.feature_panels import write_panels
from ato.graphs.graph import Graph
from tasks.engine.stage import Stage
from tasks.graphs.captions import labels_of
from tasks.graphs.making import MadeGraph
from tasks.graphs.stages import Prompt
from tasks.graphs.supernodes import named_groups
from tasks.settings import GraphSettings

FOLDER = "graphs"


@dataclass(frozen=True)
class Texts:
    """A prompt in words."""

    prompt: Prompt
    tokens: tuple[str, ...]
    logits: Mapping[int, str]
    """Texts of the target tokens, by id."""
    pages: Sequence[FeaturePage]
    """Of all features of its graphs."""

    @cached_property
    def labels(self) -> Mapping[tuple[int, int], str]:
        """Of features, by layer and number."""
        return labels_of(self.pages)


def write_files(made: Sequence[MadeGraph], texts: Texts, settings: GraphSettings, stage: Stage) -> None:
    """Publish the pruned graphs of a prompt as one folder of artifacts.

    Args:
        made: of the prompt.
        texts: of the prompt.
        settings: of the stage.
        stage: that is charged with the files.
    """

    def write(folder: Path) -> None:
        scan = write_panels(folder, texts.pages)
        for one in made:
            captions = Captions(
                slug=f"{one.kind}-{stage.key}",
                prompt=texts.prompt.text,
                tokens=texts.tokens,
                scan=scan,
                logits=texts.logits,
                labels=texts.labels,
                node_threshold=settings.node_threshold,
                edge_threshold=settings.edge_threshold,
                supernodes={group["name"]: tuple(group["node_ids"]) for group in groups_of(one, texts)},
            )
            write_graph(folder, one.pruned.graph, captions)

    stage.add(*stage.warehouse.publish_artifact_folder(write, FOLDER, stage.key))


def groups_of(made: MadeGraph, texts: Texts) -> list[dict[str, Any]]:
    """Proposed supernodes of a graph as its table and its file have them."""
    return named_groups(made, texts.labels, texts.tokens)


def features_of(graph: Graph) -> set[tuple[int, int]]:
    """Layer and number of each feature of a graph."""
    own = graph.kind == "feature"
    return set(zip(graph.layer[own].tolist(), graph.feature[own].tolist(), strict=True))
