"""Judging the SAEs, transcoders or innovation SAEs of one place: all on the same held-out tokens, all spliced into the same sequences."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ato.numerics.evenly import evenly_spaced
from ato.numerics.intervals import Estimate, number_or_none
from ato.residuals import run_pass
from ato.sae_studies.baselines import BASELINES, LINEAR
from ato.sae_studies.chain_splicing import chain_losses
from ato.sae_studies.comparison import innovation_fvu, splice_metrics
from ato.sae_studies.densities import DensityHistogram
from ato.sae_studies.dictionaries import decoder_redundancy
from ato.sae_studies.innovation import InnovationSAE
from ato.sae_studies.metrics import Metric
from ato.sae_studies.stream_quality import StreamQuality
from ato.saes import SharedEncoding
from ato.saes.loss_recovered import CERecovered, ce_recovered
from ato.saes.quality import SAEQuality
from ato.saes.splicing import splice_losses
from ato.saes.transcoder import Transcoder
from ato.saes.transcoder_splicing import transcoder_splice
from tasks.engine.model_cache import language_model, sae_device
from tasks.engine.progress import Progress, phase, say
from tasks.engine.stage import checked_together
from tasks.sae_study.absorption import absorption_metrics
from tasks.sae_study.metric_rows import metric_row
from tasks.sae_study.operators import place_source
from tasks.sae_study.probing import Probed, Probes
from tasks.sae_study.stages import Member, Place, SAEStudy
from tasks.sae_study.weights import training_log
from warehouse.datasets.sequences import stored_sequences

OF_FEATURES = ("dead_share", "high_frequency_share", "decoder_redundancy")
"""Metrics that a linear map has not."""
ABSORPTION = ("absorption_fraction", "full_absorption")


def judge(of: SAEStudy, place: Place) -> None:
    """Judge what is not judged yet of one place, and name each SAE and transcoder in the tables of studies."""
    members = [member for member in of.members if member.place == place and not member.judged.complete]
    if members:
        (_judge_transcoders if place.target_site else _judge_saes)(of, place, members)


def _judge_saes(of: SAEStudy, place: Place, members: Sequence[Member]) -> None:
    """SAEs of a site, or of innovations: of these, FVU is that of y, and that of the innovation stands beside it."""
    device, layer = sae_device(of.study.model), place.layer
    saes = {member.key: member.sae.to(device) for member in members}
    quality = {member.key: StreamQuality(member.coder.to(device), layer) for member in members}
    of_innovation = {key: SAEQuality(sae, layer) for key, sae in saes.items() if place.operator}
    with_features = {member.key: saes[member.key] for member in members if member.baseline != LINEAR}
    probes, source = Probes(of, layer, with_features), place_source(of.study, place)
    encoded = []
    for key, sae in saes.items():
        inner = [of_innovation[key]] if place.operator else []
        encoded.append(SharedEncoding(sae, layer, [quality[key], *inner, *probes.means(key)]))
    with phase("sae_study", f"{place}: rebuilding test residuals with {len(members)} SAEs"):
        run_pass(source, [*encoded, *probes.residuals], layers=place.layers, splits=["test"])
    with phase("sae_study", f"{place}: means of features over documents"):
        probes.read_train(source)
    recovered = _splice(of, place, members)
    if place.operator:
        absorbed = {key: _left_out(*ABSORPTION, of="innovation SAEs") for key in saes}
    else:
        absorbed = absorption_metrics(language_model(of.study.model), layer, place.site, saes)
    with checked_together():
        for member in members:
            key = member.key
            probed = probes.of(key) if key in with_features else Probed(_left_out("probe_auroc", of="linear maps"))
            own = [innovation_fvu(of_innovation[key].result())] if place.operator else []
            more = Probed([*probed.metrics, *absorbed[key], *own], probed.rows)
            _write(of, member, quality[key], recovered[key], more)


def _left_out(*names: str, of: str) -> list[Metric]:
    return [Metric(name, Estimate(None), 0, 0, reason=f"not measured of {of}") for name in names]


def _judge_transcoders(of: SAEStudy, place: Place, members: Sequence[Member]) -> None:
    """On pairs of both sites; probes and absorption are of SAEs, which say what a site holds."""
    device = sae_device(of.study.model)
    quality = {member.key: StreamQuality(member.transcoder.to(device), place.layer) for member in members}
    source = place_source(of.study, place)
    with phase("sae_study", f"{place}: writing test values with {len(members)} transcoders"):
        run_pass(source, list(quality.values()), layers=[place.layer], splits=["test"])
    recovered = _splice(of, place, members)
    left_out = Probed(_left_out("probe_auroc", *ABSORPTION, of="transcoders"))
    with checked_together():
        for member in members:
            _write(of, member, quality[member.key], recovered[member.key], left_out)


def _write(of: SAEStudy, member: Member, quality: StreamQuality, recovered: CERecovered, more: Probed) -> None:
    """All rows of one SAE or transcoder; ``more`` is what else was measured."""
    with member.judged as stage:
        own = {"collection": stage.collection, "sae": member.key}
        found = quality.result()
        redundancy = decoder_redundancy(member.coder.W_dec, quality.alive()).metrics()
        metrics = [*found.metrics(), *splice_metrics(recovered), *redundancy, *more.metrics]
        has_features = member.baseline != LINEAR
        if not has_features:
            metrics = [_without_features(metric) for metric in metrics]
        stage.write("studied_saes", [_row(of, member) | own])
        if isinstance(member.coder, InnovationSAE):
            stage.write("innovation_saes", [_innovation_row(member) | own])
        stage.write("sae_quality", [metric_row(metric) | own for metric in metrics], sae=member.key)
        if has_features:
            stage.write("sae_density", [row | own for row in density_rows(found.densities)], sae=member.key)
            stage.write("studied_features", [row | own for row in feature_rows(quality)], sae=member.key)
        if more.rows:
            stage.write("sae_probing", [row | own for row in more.rows], sae=member.key)
        if log := training_log(member):
            stage.write("sae_training", [row | own for row in log], sae=member.key)
        stage.tokens_run = recovered.n_tokens
    say("sae_study", f"{member.label}: {_told(metrics)}")


def _without_features(metric: Metric) -> Metric:
    """The same of a linear map, whose one feature stands in for none."""
    if metric.name not in OF_FEATURES:
        return metric
    return replace(metric, estimate=Estimate(None), reason="a linear map has no features")


def _splice(of: SAEStudy, place: Place, members: Sequence[Member]) -> dict[str, CERecovered]:
    """What each recovers in the same held-out sequences."""
    study = of.study
    held_out = stored_sequences(study.warehouse, study.collection, splits=["test"])
    sequences = evenly_spaced(held_out, of.settings.judging.n_sequences)
    lm = language_model(study.model)
    with Progress("sae_study", len(sequences), "sequences", f"{len(members)} spliced in at {place}") as progress:
        if place.target_site:
            losses = transcoder_splice(
                lm,
                {member.key: (place.layer, member.transcoder.to(lm.device)) for member in members},
                sequences,
                sites=(place.site, place.target_site),
                on_sequences=progress.advance,
            )
        elif place.operator:
            losses = chain_losses(
                lm,
                {member.key: {place.layer: member.innovation.to(lm.device)} for member in members},
                sequences,
                median_norm=study.row.median_norms or None,
                site=place.site,
                on_sequences=progress.advance,
            )
        else:
            losses = splice_losses(
                lm,
                {member.key: (place.layer, member.sae.to(lm.device)) for member in members},
                sequences,
                median_norm=study.row.median_norms if place.site == study.row.site else None,
                site=place.site,
                kl=True,
                on_sequences=progress.advance,
            )
    return {member.key: ce_recovered(losses, member.key) for member in members}


def density_rows(densities: DensityHistogram) -> list[dict[str, Any]]:
    """Rows of ``sae_density`` without their keys: bin 0 are the features that never fire."""
    never = densities.never.value
    if never is None:
        return []
    rows = [{"bin": 0, "log10_rate_low": None, "log10_rate_high": None, "n_features": round(never)}]
    edges = zip(densities.edges[:-1], densities.edges[1:], strict=True)
    for number, ((low, high), count) in enumerate(zip(edges, densities.count.value, strict=True), start=1):
        rows.append({"bin": number, "log10_rate_low": low, "log10_rate_high": high, "n_features": round(count)})
    return rows


def feature_rows(quality: StreamQuality) -> list[dict[str, Any]]:
    """Rows of ``studied_features`` without their keys."""
    counts, rates = quality.n_active().tolist(), quality.rates().tolist()
    return [
        {"feature_id": feature, "n_active": n, "activation_rate": number_or_none(rate)}
        for feature, (n, rate) in enumerate(zip(counts, rates, strict=True))
    ]


def _row(of: SAEStudy, member: Member) -> dict[str, Any]:
    sae, coder, trained = member.of, member.coder, member.baseline is None and member.of.is_trained
    return {
        "label": member.label,
        "source": (member.baseline and "baseline") or sae.path or sae.release or "trained",
        "layer": member.layer,
        "site": member.place.read,
        "target_site": sae.target_site,
        "has_skip": isinstance(coder, Transcoder) and coder.W_skip is not None,
        "architecture": member.baseline or (sae.architecture if trained else coder.architecture),
        "d_sae": coder.d_sae,
        "k": sae.k if trained or member.baseline in BASELINES else coder.k,
        "seed": sae.seed if trained or member.baseline == "random" else None,
        "n_tokens_trained": training_log(member)[-1]["tokens"] if trained else None,
        "path": f"artifacts/studied_saes/{member.weights.key}",
        "weights_hash": coder.weights_hash,
    }


def _innovation_row(member: Member) -> dict[str, Any]:
    of, at = member.innovation, member.place
    return {
        "source_layer": at.source_layer,
        "target_layer": at.layer,
        "method": at.method,
        "operator": at.operator,
        "n_parameters": of.n_parameters,
    }


def _told(metrics: Iterable[Metric]) -> str:
    found = {metric.name: metric.estimate.value for metric in metrics if metric.estimate.value is not None}
    words = {
        "fvu": "FVU {:.3f}",
        "l0": "L0 {:.1f}",
        "ce_recovered": "loss recovered {:.3f}",
        "dead_share": "dead {:.1%}",
    }
    return ", ".join(text.format(found[name]) for name, text in words.items() if name in found)
