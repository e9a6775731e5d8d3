"""What the page shows of a feature: a JSON file each, in a folder named after what is in it, so that no browser shows old ones."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ato.errors import InputError
from ato.graphs.circuit_tracer import cantor
from ato.graphs.json_files import json_bytes

FOLDER = "features"


@dataclass(frozen=True)
class PanelExample:
    """A window of text with the feature's activation on each token."""

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    peak: int
    """Index in the window of the token that made it an example."""


@dataclass(frozen=True)
class FeaturePanel:
    """What is known of a feature; all of it may be empty, as of a feature that is active on this prompt alone."""

    layer: int
    feature: int
    examples: Mapping[str, tuple[PanelExample, ...]]
    """Name of a group, such as ``Top activations``, -> its examples."""
    top_logits: tuple[str, ...] = ()
    bottom_logits: tuple[str, ...] = ()
    activation_frequency: float = 0.0
    """Share of the tokens on which it is active."""

    def document(self) -> dict[str, Any]:
        """The content of its file.

        Raises:
            InputError: an example whose tokens and activations differ in number, or whose peak is none of them.
        """
        shown = [e for group in self.examples.values() for e in group]
        if any(len(e.tokens) != len(e.activations) or not 0 <= e.peak < len(e.tokens) for e in shown):
            raise InputError(
                "an example needs an activation for each token, and its peak among them",
                where=f"feature {self.feature} of layer {self.layer}",
                cure="choose its window again",
            )
        values = [value for e in shown for value in e.activations]
        return {
            "layer": self.layer,
            "feature": self.feature,
            "index": self.feature,
            "top_logits": list(self.top_logits),
            "bottom_logits": list(self.bottom_logits),
            "act_min": min(values, default=0.0),
            "act_max": max(values, default=0.0),
            "activation_frequency": self.activation_frequency,
            "examples_quantiles": [
                {
                    "quantile_name": name,
                    "examples": [
                        {
                            "tokens": list(e.tokens),
                            "tokens_acts_list": list(e.activations),
                            "train_token_ind": e.peak,
                            "is_repeated_datapoint": False,
                        }
                        for e in group
                    ],
                }
                for name, group in self.examples.items()
            ],
        }


def write_panels(folder: Path | str, panels: Iterable[FeaturePanel]) -> str:
    """Write ``features/<hash>/<cantor>.json`` below the folder of the graphs.

    Args:
        folder: where the graphs are; panels of the same content are written once.
        panels: of every feature that a graph has: without a file the page shows the one before it.

    Returns:
        ``scan`` of the graphs: ``./data/features/<hash>``.

    Raises:
        InputError: one feature given twice, or as ``FeaturePanel.document``.
    """
    files: dict[int, bytes] = {}
    for panel in panels:
        number = cantor(panel.layer, panel.feature)
        if number in files:
            raise InputError(f"feature {panel.feature} of layer {panel.layer} has two panels", cure="give it one")
        files[number] = json_bytes(panel.document())
    digest = hashlib.sha256()
    for number in sorted(files):
        digest.update(f"{number} {len(files[number])} ".encode() + files[number])
    name = digest.hexdigest()[:16]
    target = Path(folder) / FOLDER / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".staging-") as staging:
            whole = Path(staging) / name
            whole.mkdir()
            for number, content in files.items():
                (whole / f"{number}.json").write_bytes(content)
            os.replace(whole, target)
    return f"./data/{FOLDER}/{name}"
