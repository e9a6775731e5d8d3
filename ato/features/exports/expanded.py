"""One JSON file a feature, and one of rates by stratum: the layout that circuit-tracer's viewer and its collectors share.

``features/{cantor id}.json`` holds what a feature fires on and promotes; ``feature_metadata.json`` holds how often every
feature fires. Features that never fire have neither. A graph file beside ``features`` shows them with the scan
``./data/features``.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from ato.errors import InputError
from ato.features.excerpts import Excerpt
from ato.features.exports.cantor import cantor_id
from ato.features.exports.feature_page import (
    THINKING_BINS,
    ExampleGroup,
    FeaturePage,
    TokenCounts,
    ascending,
    peak_index,
)
from ato.features.exports.histograms import equal_bars, percentiles
from ato.features.exports.strict_json import json_bytes, rounded
from ato.io.atomic_file import atomic_file, remove_others

FEATURES, METADATA = "features", "feature_metadata.json"
TOP, RANDOM = "top", "random"


def write_expanded(pages: Iterable[FeaturePage], folder: str | Path) -> int:
    """Write features one at a time, and the file of rates when all are there; returns how many files of features.

    Features without tokens that were counted have a file but no rates.

    Args:
        pages: by layer and feature, each once; those that were counted over the same sample.
        folder: created if it is missing; features of an earlier export to it are removed.

    Raises:
        InputError: the pages are in another order, or were counted over different samples.
    """
    folder, names = Path(folder), set[str]()
    with atomic_file(folder / METADATA) as metadata:
        rates = _RatesFile(metadata)
        for page in ascending(pages):
            rates.add(page)
            if page.active is None or page.active.total:
                names.add(name := f"{cantor_id(page.layer, page.feature_id)}.json")
                with atomic_file(folder / FEATURES / name) as file:
                    file.write(json_bytes(feature_json(page)))
        rates.close()
    remove_others(folder / FEATURES, "[0-9]*.json", names)
    return len(names)


def feature_json(page: FeaturePage) -> dict[str, Any]:
    """The content of a feature's file.

    The groups "Top activations", by falling activation, and "Random samples" are always there, others follow.
    ``act_min`` and ``act_max`` are left out where no example has an activation: viewers then have their own. Beyond what
    they read, each example has its ``origin`` and each feature its ``descriptions``.
    """
    groups = [_example_group(group) for group in _ordered_groups(page)]
    shown = [value for group in groups for one in group["examples"] for value in one["tokens_acts_list"]]
    values = [value for value in shown if value is not None]
    content: dict[str, Any] = {
        "layer": page.layer,
        "feature": page.feature_id,
        "index": page.feature_id,
        "transcoder_id": page.sae,
        "top_logits": list(page.top_tokens),
        "bottom_logits": list(page.bottom_tokens),
        "top_logit_values": rounded(page.top_logits),
        "bottom_logit_values": rounded(page.bottom_logits),
        "activation_frequency": page.activation_rate,
        "examples_quantiles": groups,
        "descriptions": [asdict(one) for one in page.descriptions],
    }
    if values:
        content |= {"act_min": min(values), "act_max": max(values)}
        _, heights = equal_bars(page.histogram_edges, page.histogram_counts, min(values), max(values))
        if len(heights):
            content["histogram"] = rounded(heights.tolist())
    if len(quantiles := percentiles(page.histogram_edges, page.histogram_counts)):
        content["quantile_values"] = rounded(quantiles.tolist())
    if page.is_neuron:
        content["is_neuron"] = True
    return content


def silent_json(layer: int, feature_id: int) -> dict[str, Any]:
    """What viewers show of a feature that nothing is known of: without it they keep showing the feature before."""
    return feature_json(FeaturePage(layer, feature_id, sae=""))


def rates_json(page: FeaturePage, tokens: TokenCounts, active: TokenCounts) -> dict[str, Any]:
    """A feature's entry in the file of rates.

    A density is P(active | token in stratum), comparable over strata; a fraction is the stratum's share of the feature's
    active tokens. As the format has it, only strata in which the feature fires are named, and tenths of thinking without
    a token have 0.
    """
    content: dict[str, Any] = {
        "layer": page.layer,
        "feature": page.feature_id,
        "cantor_id": cantor_id(page.layer, page.feature_id),
        "activation_count": active.total,
        "activation_freq": active.total / tokens.total,
    }
    for name, counts, totals in (
        ("domain", active.by_domain, tokens.by_domain),
        ("region", active.by_region, tokens.by_region),
    ):
        content[f"{name}_density"] = {stratum: n / totals[stratum] for stratum, n in counts.items() if n}
        content[f"{name}_fraction"] = {stratum: n / active.total for stratum, n in counts.items() if n}
    bins = active.by_thinking_bin
    content["thinking_position_density"] = [n / of if of else 0.0 for n, of in zip(bins, tokens.by_thinking_bin)]
    content["thinking_position_fraction"] = [n / max(sum(bins), 1) for n in bins]
    return content | ({"is_neuron": True} if page.is_neuron else {})


class _RatesFile:
    """``feature_metadata.json``, a feature at a time."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._tokens: TokenCounts | None = None
        self._separator = b""

    def add(self, page: FeaturePage) -> None:
        """Write a feature's rates, unless it never fires."""
        if page.tokens is None or page.active is None:
            return
        if self._tokens is None:
            self._open(page.tokens, is_neuron=page.is_neuron)
        elif page.tokens is not self._tokens and page.tokens != self._tokens:
            raise InputError(
                f"feature {page.feature_id} was counted over {page.tokens.total:,} tokens, those before over "
                f"{self._tokens.total:,}",
                where=f"layer {page.layer}",
                cure="export SAEs with different samples apart",
            )
        _check_strata(page, page.tokens, page.active)
        if page.active.total:
            self._file.write(self._separator + json_bytes(rates_json(page, page.tokens, page.active)))
            self._separator = b",\n"

    def close(self) -> None:
        """End the file; without a page it says that nothing was counted."""
        if self._tokens is None:
            self._open(TokenCounts(0), is_neuron=False)
        self._file.write(b"]}")

    def _open(self, tokens: TokenCounts, *, is_neuron: bool) -> None:
        self._tokens = tokens
        header: dict[str, Any] = {
            "total_tokens": tokens.total,
            "tokens_per_domain": tokens.by_domain,
            "tokens_per_region": tokens.by_region,
            "tokens_per_thinking_bin": list(tokens.by_thinking_bin),
        }
        header |= {"is_neuron_baseline": True} if is_neuron else {}
        self._file.write(json_bytes(header)[:-1] + b',"features":[')


def _check_strata(page: FeaturePage, tokens: TokenCounts, active: TokenCounts) -> None:
    pairs: list[tuple[Mapping[Any, int], Mapping[Any, int]]] = [
        ({"": active.total}, {"": tokens.total}),
        (active.by_domain, tokens.by_domain),
        (active.by_region, tokens.by_region),
        (dict(enumerate(active.by_thinking_bin)), dict(enumerate(tokens.by_thinking_bin))),
    ]
    lengths = {len(active.by_thinking_bin), len(tokens.by_thinking_bin)}
    if lengths != {THINKING_BINS} or any(n > of.get(name, 0) for some, of in pairs for name, n in some.items()):
        raise InputError(
            f"feature {page.feature_id} is active on more tokens than were counted",
            where=f"layer {page.layer}",
            cure="count its active tokens and all tokens over the same sample and strata",
        )


def _ordered_groups(page: FeaturePage) -> Iterator[ExampleGroup]:
    by_activation = sorted(page.group(TOP), key=lambda one: -one.activations[peak_index(one)])
    yield ExampleGroup(TOP, tuple(by_activation))
    yield ExampleGroup(RANDOM, page.group(RANDOM))
    yield from (group for group in page.groups if group.kind not in (TOP, RANDOM))


def _example_group(group: ExampleGroup) -> dict[str, Any]:
    return {"quantile_name": group.name, "examples": [_example(excerpt) for excerpt in group.examples]}


def _example(excerpt: Excerpt) -> dict[str, Any]:
    return {
        "tokens": list(excerpt.tokens),
        "tokens_acts_list": rounded(excerpt.activations),
        "train_token_ind": peak_index(excerpt),
        "is_repeated_datapoint": False,
        "origin": asdict(excerpt.origin),
    }
