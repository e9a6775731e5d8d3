"""Scoring the features of SAEs: one pass for their components, ablation on held-out text, examples of the selected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ato.causal.ablation import AblationEffects, ablation_effects
from ato.features.examples import Examples, ExampleTokens, ExampleWindows
from ato.features.logit_lens import LogitLens, logit_lens
from ato.features.quality import FeatureQuality, QualityComponents
from ato.features.ranking import (
    PRE_WEIGHTS,
    FeatureRanking,
    best_features,
    composite,
    normalised_components,
    rank_features,
)
from ato.models import LanguageModel
from ato.numerics.evenly import evenly_spaced
from ato.numerics.intervals import EstimateArray
from ato.residuals import ResidualSource, run_pass
from ato.residuals.memory import FirstTokens
from ato.saes import SharedEncoding, SparseAutoencoder
from ato.text import TokenSequence
from ato.text.token_texts import TokenTexts
from tasks.engine.columns import estimate_columns
from tasks.engine.progress import Progress, say
from tasks.engine.study import Study
from tasks.saes.task import load_judged_sae
from tasks.settings import FeatureSettings
from warehouse.catalog.lookups import SAERow
from warehouse.storage.parquet import null_where, null_where_nan
from warehouse.storage.warehouse import Warehouse

SEQUENCES_LOOKED_AT = 32
"""Validation sequences among which a candidate's strongest are found, for each that it is ablated in."""


@dataclass(eq=False)
class Scoring:
    """What is known of the features of one SAE; filled step by step."""

    key: str
    layer: int
    sae: SparseAutoencoder
    components: QualityComponents = field(init=False)
    lens: LogitLens | None = field(init=False, default=None)
    """None for an SAE that does not write into the residual stream."""
    pre_score: np.ndarray = field(init=False)
    candidates: np.ndarray = field(init=False)
    """Best first."""
    effects: AblationEffects | None = field(init=False, default=None)
    ranking: FeatureRanking = field(init=False)
    examples: Examples = field(init=False)
    windows: ExampleWindows = field(init=False)

    @classmethod
    def of(cls, warehouse: Warehouse, row: SAERow, device: torch.device) -> "Scoring":
        """An empty one for a row of the table ``saes``; the SAE reads residuals on this device."""
        return cls(row.sae, row.layer, load_judged_sae(warehouse, row).to(device))

    def normalised(self) -> dict[str, np.ndarray]:
        """The normalised components, the causal effect among them where it was measured."""
        causal = None
        if self.effects is not None:
            causal = np.full(self.sae.d_sae, np.nan)
            causal[self.effects.feature_id] = self.effects.effect.value
        no_focus = np.full(self.sae.d_sae, np.nan)
        c = self.components
        return normalised_components(
            token_entropy=c.token_entropy,
            focus_z=no_focus if self.lens is None else self.lens.focus_z,
            redundancy=c.redundancy,
            deadness=c.deadness,
            causal_effect=causal,
        )


def compute_components(
    scorings: list[Scoring], source: ResidualSource, model: LanguageModel, settings: FeatureSettings
) -> dict[str, ExampleTokens]:
    """One pass over the train split for all SAEs, then the logit lens: components, pre-scores and candidates.

    Returns what examples are chosen from, by SAE.
    """
    quality = {s.key: FeatureQuality(s.sae, s.layer, settings.top_positions) for s in scorings}
    tokens = {
        s.key: ExampleTokens(
            s.sae, s.layer, settings.n_examples, settings.n_random, settings.n_quantiles, seed=settings.seed
        )
        for s in scorings
    }
    consumers = [SharedEncoding(s.sae, s.layer, [quality[s.key], tokens[s.key]]) for s in scorings]
    pass_over(scorings, source, consumers, settings.n_tokens, "tokens")
    with Progress("features", sum(s.sae.d_sae for s in scorings), "features", "logit lens") as progress:
        unembedding = model.parts.unembedding()
        for s in scorings:
            s.components = quality[s.key].result()
            if s.sae.d_in == model.d_model:
                vocabulary = min(model.vocabulary_size, len(model.tokenizer))
                s.lens = logit_lens(s.sae.W_dec, unembedding, settings.n_lens_tokens, vocabulary)
            progress.advance(s.sae.d_sae)
            s.pre_score = composite(s.normalised(), PRE_WEIGHTS)
            s.candidates = best_features(s.pre_score, settings.candidate_percent)
    return tokens


def ablate(
    scorings: list[Scoring],
    sequences: list[TokenSequence],
    model: LanguageModel,
    study: Study,
    settings: FeatureSettings,
) -> int:
    """Causal effects of all candidates on validation text; returns the tokens of it that were run."""
    sequences = over_documents(sequences, SEQUENCES_LOOKED_AT * settings.ablation_sequences)
    most = sum(len(s.candidates) for s in scorings) * settings.ablation_sequences
    with Progress("features", most, "ablations") as progress:
        effects = ablation_effects(
            model,
            {s.key: (s.layer, s.sae, s.candidates) for s in scorings},
            sequences,
            n_sequences=settings.ablation_sequences,
            n_tokens=settings.ablation_tokens,
            median_norm=study.row.median_norms,
            on_rows=lambda done, total: progress.reach(most * done / total),
        )
    for s in scorings:
        s.effects = effects[s.key]
    return sum(min(len(q.token_ids), 2 * settings.ablation_tokens) for q in sequences)


def over_documents(sequences: Sequence[TokenSequence], n: int) -> list[TokenSequence]:
    """At most ``n`` sequences, in their order: of as many documents as there are, then second ones of each, and so on.

    A document's turn begins at another of its sequences than that of the document before: beginnings are not preferred.
    """
    of_document: dict[int, list[TokenSequence]] = {}
    for sequence in sequences:
        of_document.setdefault(sequence.document, []).append(sequence)
    rounds: dict[int, list[TokenSequence]] = {}
    for place, own in enumerate(of_document.values()):
        for turn in range(len(own)):
            rounds.setdefault(turn, []).append(own[(place + turn) % len(own)])
    chosen: list[TokenSequence] = []
    for turn in sorted(rounds):
        if len(chosen) < n:
            chosen += evenly_spaced(rounds[turn], n - len(chosen))
    return sorted(chosen, key=lambda sequence: sequence.sequence_id)


def select(scorings: list[Scoring], settings: FeatureSettings) -> None:
    """Scores, ranks and the selected features."""
    for s in scorings:
        s.ranking = rank_features(s.normalised(), s.candidates, settings.top_percent)


def collect_examples(
    scorings: list[Scoring],
    tokens: Mapping[str, ExampleTokens],
    source: ResidualSource,
    lengths: Mapping[int, int],
    settings: FeatureSettings,
) -> None:
    """Examples of the selected features; their windows are read in a second pass that encodes only them."""
    for s in scorings:
        s.examples = tokens[s.key].choose(s.ranking.selected)
        s.windows = ExampleWindows(
            s.sae, s.layer, s.examples, lengths, before=settings.context_before, after=settings.context_after
        )
    if any(len(s.examples) for s in scorings):
        pass_over(scorings, source, [s.windows for s in scorings], settings.n_tokens, "tokens, examples")


def pass_over(scorings: list[Scoring], source: ResidualSource, consumers: list[Any], n_tokens: int, unit: str) -> None:
    """The first tokens of the train split, with a progress bar."""
    layers = sorted({s.layer for s in scorings})
    with Progress("features", n_tokens, unit) as progress:
        run_pass(
            FirstTokens(source, n_tokens),
            consumers,
            layers=layers,
            splits=["train"],
            on_block=lambda block: progress.advance(block.n),
        )


def score_columns(s: Scoring, texts: TokenTexts) -> dict[str, Any]:
    """Columns of ``feature_scores`` beside the keys; NULL where a feature has no value."""
    c, n = s.components, s.sae.d_sae
    selected, candidate = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    selected[s.ranking.selected], candidate[s.candidates] = True, True
    columns: dict[str, Any] = {
        "feature_id": np.arange(n, dtype=np.int32),
        "n_tokens": np.full(n, c.n_tokens),
        "n_active": c.n_active,
        "activation_rate": c.activation_rate,
        "n_documents_active": c.n_documents_active,
        "mean_activation": null_where_nan(c.mean_activation),
        "max_activation": null_where_nan(c.max_activation),
        "n_top": c.n_top,
        "token_entropy": null_where_nan(c.token_entropy),
        "redundancy": null_where_nan(c.redundancy),
        "redundant_with": null_where(c.redundant_with, c.redundant_with < 0),
        "deadness": c.deadness,
        "pre_score": null_where_nan(s.pre_score),
        "candidate": candidate,
        "score": null_where_nan(s.ranking.score),
        "rank": null_where(s.ranking.rank, s.ranking.rank == 0),
        "selected": selected,
    }
    return columns | _effect_columns(s.effects, n) | _lens_columns(s.lens, n, texts)


def _effect_columns(effects: AblationEffects | None, n: int) -> dict[str, Any]:
    values, counts = np.full((3, n), np.nan), np.zeros((2, n), dtype=np.int64)
    if effects is not None:
        values[:, effects.feature_id] = effects.effect.value, effects.effect.low, effects.effect.high
        counts[:, effects.feature_id] = effects.n_tokens, effects.n_documents
    columns = estimate_columns(causal_effect=EstimateArray(*values))
    scores = {name: null_where_nan(column) for name, column in columns.items()}
    return {**scores, "n_ablated": counts[0], "n_ablated_documents": counts[1]}


def _lens_columns(lens: LogitLens | None, n: int, texts: TokenTexts) -> dict[str, Any]:
    if lens is None:
        lists = ("top_tokens", "top_logits", "bottom_tokens", "bottom_logits")
        return {"focus_z": [None] * n, "focus_entropy": [None] * n} | {name: [[]] * n for name in lists}
    return {
        "focus_z": null_where_nan(lens.focus_z),
        "focus_entropy": null_where_nan(lens.focus_entropy),
        "top_tokens": [texts.of(ids) for ids in lens.top_ids],
        "top_logits": list(lens.top_logits),
        "bottom_tokens": [texts.of(ids) for ids in lens.bottom_ids],
        "bottom_logits": list(lens.bottom_logits),
    }


def example_columns(s: Scoring, sequences: Mapping[int, TokenSequence], texts: TokenTexts) -> dict[str, Any]:
    """Columns of ``feature_examples`` beside the keys."""
    e, w = s.examples, s.windows
    return {
        "feature_id": e.feature_id.astype(np.int32),
        "kind": e.kind.tolist(),
        "rank": e.rank.astype(np.int32),
        "quantile": null_where_nan(e.quantile),
        "sequence_id": e.sequence_id,
        "position": e.position.astype(np.int32),
        "activation": e.activation,
        "start": w.start.astype(np.int32),
        "tokens": [
            texts.of(sequences[int(q)].token_ids[a:b]) for q, a, b in zip(e.sequence_id, w.start, w.end, strict=True)
        ],
        "activations": w.result(),
    }


def announce(s: Scoring, texts: TokenTexts) -> None:
    """One line: how many features are selected, and the five best with the tokens they promote."""
    best = [
        f"{f} ({' '.join(repr(t) for t in texts.of(s.lens.top_ids[f][:3]))})" if s.lens is not None else f"{f}"
        for f in s.ranking.selected[:5]
    ]
    listed = f"; best: {', '.join(best)}" if best else ""
    say(
        "features",
        f"{s.key}: {len(s.ranking.selected):,} of {s.sae.d_sae:,} features selected "
        f"on {s.components.n_tokens:,} train tokens{listed}",
    )
