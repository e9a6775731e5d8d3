"""Batches of features as SAEDashboard writes them, from which Neuronpedia imports dashboards.

``batch-N.json`` holds up to 128 features; ``skipped_indexes.json`` the features that have none. Descriptions, for which
these files have no place, are lines of ``explanations/batch-N.jsonl.gz`` as in Neuronpedia's public dataset.
Source: ``neuronpedia/neuronpedia_dashboard.py`` of sae-dashboard 0.8.0.
"""

import gzip
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ato.errors import InputError
from ato.features.excerpts import Excerpt
from ato.features.exports.feature_page import ExampleGroup, FeaturePage, ascending, peak_index
from ato.features.exports.histograms import equal_bars
from ato.features.exports.strict_json import json_bytes, rounded
from ato.io.atomic_file import atomic_file, remove_others

SKIPPED = "skipped_indexes.json"
TOP_BIN = -1
"""``bin_min`` and ``bin_contains`` of the strongest examples."""
_SOURCE = re.compile(r"(?P<model>\w[\w.-]*)/(?P<layer>\d+)-(?P<set>[\w.-]+?)(?:__(?P<suffix>[\w.-]+))?", re.ASCII)
_UNKNOWN = (
    "neuron_alignment_indices",
    "neuron_alignment_values",
    "neuron_alignment_l1",
    "correlated_neurons_indices",
    "correlated_neurons_l1",
    "correlated_neurons_pearson",
    "correlated_features_indices",
    "correlated_features_l1",
    "correlated_features_pearson",
    "logits_hist_data_bar_heights",
    "logits_hist_data_bar_values",
    "decoder_weights_dist",
    "vector",
)
"""Lists that readers take empty, as SAEDashboard itself leaves them where their panel is switched off."""


@dataclass(frozen=True)
class DashboardSource:
    """Under which name a set of features goes on Neuronpedia, and which text its statistics are of."""

    model_id: str
    layer: int
    sae_set: str
    sae_id_suffix: str | None = None
    dataset: str = ""
    n_prompts: int = 0
    """Sequences in which tokens were counted."""
    n_tokens_in_prompt: int = 0

    @property
    def source(self) -> str:
        """``{layer}-{set}[__{suffix}]``."""
        return f"{self.layer}-{self.sae_set}" + (f"__{self.sae_id_suffix}" if self.sae_id_suffix else "")

    @property
    def neuronpedia_id(self) -> str:
        """``model/source``."""
        return f"{self.model_id}/{self.source}"

    @classmethod
    def parse(cls, neuronpedia_id: str, **text: Any) -> "DashboardSource":
        """Read ``model/source``; ``text`` gives the other fields.

        Raises:
            InputError: the id is not of that form, such as one of neurons, which has no set.
        """
        if not (found := _SOURCE.fullmatch(neuronpedia_id)):
            raise InputError(
                f"{neuronpedia_id!r} names no set of features", cure="use model/layer-set, such as gpt2-small/6-res-jb"
            )
        return cls(found["model"], int(found["layer"]), found["set"], found["suffix"], **text)


def write_batches(
    pages: Iterable[FeaturePage], source: DashboardSource, folder: str | Path, *, d_sae: int, batch_size: int = 128
) -> list[Path]:
    """Write the features of one SAE, a batch at a time; returns the batches' files.

    Args:
        pages: of one SAE, by feature.
        source: of the SAE.
        folder: created if it is missing; batches of an earlier export to it are removed.
        d_sae: features that the SAE has.
        batch_size: features in a file.

    Raises:
        InputError: pages in another order, of another layer, or beyond ``d_sae``.
    """
    folder = Path(folder)
    described = set[str]()
    checked, written, paths = ascending(pages), set[int](), list[Path]()
    while batch := list(islice(checked, batch_size)):
        for page in batch:
            if page.layer != source.layer or page.feature_id >= d_sae:
                found = (
                    f"feature {page.feature_id} of layer {page.layer} is not of {source.source} with {d_sae:,} features"
                )
                raise InputError(found, cure="give the pages of one SAE")
        number = len(paths)
        if lines := b"".join(_explanations(batch, source)):
            described.add(name := f"batch-{number}.jsonl.gz")
            with atomic_file(folder / "explanations" / name) as file:
                file.write(gzip.compress(lines, mtime=0))
        paths.append(folder / f"batch-{number}.json")
        with atomic_file(paths[-1]) as file:
            file.write(json_bytes(batch_json(batch, source)))
        written.update(page.feature_id for page in batch)
    with atomic_file(folder / SKIPPED) as file:
        file.write(json_bytes(_skipped(source, [i for i in range(d_sae) if i not in written])))
    remove_others(folder, "batch-*.json", {path.name for path in paths})
    remove_others(folder / "explanations", "batch-*.jsonl.gz", described)
    return paths


def batch_json(pages: Iterable[FeaturePage], source: DashboardSource) -> dict[str, Any]:
    """The content of one batch."""
    return {
        "model_id": source.model_id,
        "layer": source.layer,
        "sae_set": source.sae_set,
        "sae_id_suffix": source.sae_id_suffix,
        "features": [_feature(page, source) for page in pages],
    }


def _feature(page: FeaturePage, source: DashboardSource) -> dict[str, Any]:
    edges = page.histogram_edges
    middles, heights = equal_bars(edges, page.histogram_counts, *((edges[0], edges[-1]) if len(edges) else (0.0, 0.0)))
    return {
        "feature_index": page.feature_id,
        "pos_str": list(page.top_tokens),
        "pos_values": rounded(page.top_logits),
        "neg_str": list(page.bottom_tokens),
        "neg_values": rounded(page.bottom_logits),
        "frac_nonzero": page.activation_rate,
        "freq_hist_data_bar_values": rounded(middles.tolist()),
        "freq_hist_data_bar_heights": rounded(heights.tolist()),
        "n_prompts_total": source.n_prompts,
        "n_tokens_in_prompt": source.n_tokens_in_prompt,
        "dataset": source.dataset,
        "activations": [one for group in page.groups for one in _activations(group, page)],
    } | {name: [] for name in _UNKNOWN}


def _activations(group: ExampleGroup, page: FeaturePage) -> Iterator[dict[str, Any]]:
    low, high, share = _interval(group, page)
    for excerpt in group.examples:
        yield {
            "bin_min": low,
            "bin_max": high,
            "bin_contains": share,
            "tokens": list(excerpt.tokens),
            "values": rounded(excerpt.activations),
            "qualifying_token_index": peak_index(excerpt),
        }


def _interval(group: ExampleGroup, page: FeaturePage) -> tuple[float | None, float | None, float | None]:
    """Activations between which examples of a group lie, and the share of all tokens that do.

    Random ones lie anywhere: between 0 and the largest, with the share of tokens on which the feature is active. Of a
    quantile the ends are its examples' own activations, since the tables keep its share alone.
    """
    peaks = [_peak(excerpt) for excerpt in group.examples]
    if group.kind == "top":
        return TOP_BIN, max(peaks, default=None), TOP_BIN
    rate = page.activation_rate
    if group.share_above is None or group.share_below is None:
        known = [_peak(excerpt) for one in page.groups for excerpt in one.examples]
        return 0.0, max(known, default=None), rate
    share = group.share_below - group.share_above
    return min(peaks, default=None), max(peaks, default=None), None if rate is None else rate * share


def _peak(excerpt: Excerpt) -> float:
    (value,) = rounded([excerpt.activations[peak_index(excerpt)]])
    return 0.0 if value is None else value


def _explanations(pages: Iterable[FeaturePage], source: DashboardSource) -> Iterator[bytes]:
    for page in pages:
        for one in page.descriptions:
            line = {
                "modelId": source.model_id,
                "layer": source.source,
                "index": str(page.feature_id),
                "description": one.text,
                "typeName": one.method or one.source,
                "explanationModelName": one.explainer or one.source,
                "scores": []
                if one.score is None
                else [{"value": one.score, "explanationScoreTypeName": one.score_kind}],
            }
            yield json_bytes(line) + b"\n"


def _skipped(source: DashboardSource, features: list[int]) -> dict[str, Any]:
    return {
        "model_id": source.model_id,
        "layer": str(source.layer),
        "sae_set": source.sae_set,
        "log_sparsity": None,
        "skipped_indexes": features,
    }
