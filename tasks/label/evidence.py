"""Collecting the evidence: two passes over the residuals for all SAEs, the logit lens, and rows of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from ato.features.evidence_windows import EvidencePlan, LabelEvidence
from ato.features.label_evidence import EvidenceTokens
from ato.features.logit_lens import LogitLens, logit_lens, norm_gain
from ato.features.strata import Stratum, document_stratum, position_tenths
from ato.models import LanguageModel
from ato.residuals import ResidualSource, run_pass
from ato.saes import SharedEncoding, load_sae
from ato.saes.feature_source import FeatureSource
from ato.saes.transcoder_files import load_transcoder_folder
from ato.text.token_texts import TokenTexts
from tasks.collect.sources import site_source
from tasks.engine.model_cache import language_model, sae_device
from tasks.engine.progress import Progress, say
from tasks.engine.stage import Stage, checked_together
from tasks.label.adapters import adapted_model
from tasks.label.evidence_rows import Shown, evidence_tables
from tasks.label.neurons import neurons_of
from tasks.label.regions import REGION, chat_regions
from tasks.label.stages import NEURONS, Labelled, LabelStudy
from tasks.saes.task import load_judged_sae
from warehouse.catalog.lookups import SAERow
from warehouse.datasets.sequences import stored_sequences
from warehouse.datasets.strata import frequent, strata_of

N_LENS = 15
"""Promoted and suppressed tokens kept of each feature."""


@dataclass(frozen=True)
class _Collected:
    """A member with what was found of it."""

    member: Labelled
    evidence: LabelEvidence
    lens: LogitLens | None
    """None of features that do not write into the residual stream."""


@dataclass(frozen=True)
class _Read:
    """What members are read from in the same passes."""

    lm: LanguageModel
    source: ResidualSource
    adapter: Mapping[int, FeatureSource] = field(default_factory=dict)
    """Layer -> features of the adapter that stands beside the model's MLPs; empty without one."""


def collect_evidence(of: LabelStudy, members: Sequence[Labelled]) -> None:
    """Write the evidence of members: one pass over all tokens, one over those of windows, whatever their number.

    Those that read another site than the collection's, neurons among them, are read from the running model, a layer and
    site at a time, and an adapter from the running model of its checkpoint; there no token is left out for its norm.
    """
    study = of.study
    sequences = {q.sequence_id: q for q in stored_sequences(study.warehouse, study.collection)}
    lengths = {number: len(q.token_ids) for number, q in sequences.items()}
    found = strata_of(study.warehouse, study.collection, of.strata)
    corpus = {name: frequent(values) for name, values in found.items()}
    strata = [document_stratum(name, values) for name, values in corpus.items() if values]
    if REGION not in corpus and (regions := chat_regions(study, sequences.values())) is not None:
        strata.append(regions)
    texts = TokenTexts(language_model(study.model).tokenizer)
    shown = Shown(study.row.corpus, sequences, texts, next(iter(corpus.values()), {}))
    for some in _together(of, members):
        with _read(of, some) as read:
            _collect(of, some, read, [*strata, position_tenths(lengths)], shown)


def _together(of: LabelStudy, members: Sequence[Labelled]) -> list[list[Labelled]]:
    """Members that are read in the same passes: all of the collection's site, those of one place elsewhere, an adapter's."""
    groups: dict[tuple[int, str] | str | None, list[Labelled]] = {}
    for member in members:
        own = None if member.site == of.study.row.site else (member.layer, member.site)
        groups.setdefault(own if member.adapter is None else member.adapter, []).append(member)
    return list(groups.values())


@contextmanager
def _read(of: LabelStudy, members: Sequence[Labelled]) -> Iterator[_Read]:
    """The model and the values that some members are read from in the same passes."""
    study, first = of.study, members[0]
    if first.adapter is None:
        yield _Read(language_model(study.model), site_source(study, first.layer, first.site))
        return
    layers = [member.layer for member in members]
    with adapted_model(study, first.adapter, layers) as one:
        yield _Read(one.lm, one.source, {layer: one.adapter.layers[layer].transcoder for layer in layers})


def _collect(of: LabelStudy, members: Sequence[Labelled], read: _Read, strata: Sequence[Stratum], shown: Shown) -> None:
    lm, source = read.lm, read.source
    features = [_features(of, member, read) for member in members]
    first = [_tokens(of, member, one, strata) for member, one in zip(members, features, strict=True)]
    lengths = {number: len(q.token_ids) for number, q in shown.sequences.items()}
    layers, n_tokens = sorted({member.layer for member in members}), of.study.row.n_kept
    several = "layers of an adapter" if members[0].adapter else "SAEs"
    what = f"neurons of layer {layers[0]}" if members[0].source == NEURONS else f"{len(members)} {several}"
    with Progress("label", n_tokens, "tokens", f"evidence of {what}") as progress:
        encoded = [SharedEncoding(one.sae, one.layer, [one]) for one in first]
        run_pass(source, encoded, layers=layers, on_block=lambda block: progress.advance(block.n))
    second = [one.windows(lengths) for one in first]
    with Progress("label", n_tokens, "tokens", f"windows of {what}") as progress:
        run_pass(source, second, layers=layers, on_block=lambda block: progress.advance(block.n))
    with checked_together():
        for member, one, windows in zip(members, features, second, strict=True):
            collected = _Collected(member, windows.result(), _lens(member, one, lm))
            with member.evidence as stage:
                _write(stage, collected, shown)


def _tokens(of: LabelStudy, member: Labelled, features: FeatureSource, strata: Sequence[Stratum]) -> EvidenceTokens:
    plan = EvidencePlan(**of.settings.windows.model_dump(), seed=of.settings.seed)
    ids, n_folds = member.chosen.feature_id, of.study.row.n_folds
    return EvidenceTokens(features, member.layer, ids, n_folds=n_folds, strata=strata, plan=plan)


def _features(of: LabelStudy, member: Labelled, read: _Read) -> FeatureSource:
    warehouse, row, device = of.study.warehouse, member.row, sae_device(of.study.model)
    if member.adapter is not None:
        return read.adapter[member.layer]
    if row is None:
        return neurons_of(of, member, read.source, read.lm)
    if isinstance(row, SAERow):
        return load_judged_sae(warehouse, row).to(device)
    folder = warehouse.artifact_path(*row.path.split("/")[1:])
    if row.target_site is not None:
        return load_transcoder_folder(folder, row.layer).to(device)
    return load_sae(folder).to(device)


def _lens(member: Labelled, source: FeatureSource, lm: LanguageModel) -> LogitLens | None:
    """The logit lens of the chosen features' decoder rows, times the gain of the final norm."""
    directions = source.decoder_directions[torch.from_numpy(member.chosen.feature_id)]
    if directions.shape[1] != lm.d_model:
        return None
    vocabulary = min(lm.vocabulary_size, len(lm.tokenizer))
    norm = lm.parts.final_norm
    gain = norm_gain(norm[0] if isinstance(norm, torch.nn.Sequential) else norm, lm.d_model)
    gained = directions.float() * gain.to(directions.device)
    return logit_lens(gained, lm.parts.unembedding(), N_LENS, vocabulary)


def _write(stage: Stage, collected: _Collected, shown: Shown) -> None:
    member, evidence = collected.member, collected.evidence
    own = {"collection": stage.collection, "evidence": stage.key, "layer": member.layer}
    tables: Mapping[str, Mapping[str, object]] = evidence_tables(
        member.source, member.chosen, evidence, collected.lens, shown
    )
    for table, columns in tables.items():
        n = len(np.asarray(columns["feature_id"]))
        if n:
            stage.write(table, {**columns, **{name: [value] * n for name, value in own.items()}}, sae=member.key)
    read = {"source": member.source, "site": member.site, "d_sae": len(evidence.histograms.counts)}
    stage.write("labelled_sources", [own | read | {"sae": member.key, "folder": member.adapter}], sae=member.key)
    say("label", f"{member.slug}: {len(member.chosen.feature_id)} features, {len(evidence.windows):,} windows")
