"""Judging the SAEs of one layer: all on the same held-out tokens in one pass, all spliced into the same sequences."""

from collections.abc import Iterable, Sequence
from typing import Any

from ato.numerics.evenly import evenly_spaced
from ato.numerics.intervals import number_or_none
from ato.residuals import run_pass
from ato.sae_studies.comparison import splice_metrics
from ato.sae_studies.densities import DensityHistogram
from ato.sae_studies.dictionaries import decoder_redundancy
from ato.sae_studies.metrics import Metric
from ato.sae_studies.stream_quality import StreamQuality
from ato.saes import SharedEncoding
from ato.saes.splicing import SpliceLosses, ce_recovered, splice_losses
from tasks.collect.sources import residual_source
from tasks.engine.model_cache import language_model, sae_device
from tasks.engine.progress import Progress, phase, say
from tasks.engine.stage import checked_together
from tasks.sae_study.absorption import absorption_metrics
from tasks.sae_study.metric_rows import metric_row
from tasks.sae_study.probing import Probes
from tasks.sae_study.stages import Member, SAEStudy
from tasks.sae_study.weights import training_log
from warehouse.datasets.sequences import stored_sequences


def judge(of: SAEStudy, layer: int) -> None:
    """Judge what is not judged yet of one layer, and name each SAE in the tables of studies."""
    members = [member for member in of.members if member.layer == layer and not member.judged.complete]
    if not members:
        return
    device = sae_device(of.study.model)
    saes = {member.key: member.sae.to(device) for member in members}
    quality = {key: StreamQuality(sae, layer) for key, sae in saes.items()}
    probes, source = Probes(of, layer, saes), residual_source(of.study)
    encoded = [SharedEncoding(saes[key], layer, [quality[key], *probes.means(key)]) for key in saes]
    with phase("sae_study", f"layer {layer}: rebuilding test residuals with {len(members)} SAEs"):
        run_pass(source, [*encoded, *probes.residuals], layers=[layer], splits=["test"])
    with phase("sae_study", f"layer {layer}: means of features over documents"):
        probes.read_train(source)
    losses = _splice(of, layer, members)
    absorbed = absorption_metrics(language_model(of.study.model), layer, of.study.row.site, saes)
    with checked_together():
        for member in members:
            with member.judged as stage:
                own = {"collection": stage.collection, "sae": member.key}
                found = quality[member.key].result()
                spliced = splice_metrics(ce_recovered(losses, member.key))
                redundancy = decoder_redundancy(member.sae.W_dec, quality[member.key].alive()).metrics()
                probed = probes.of(member.key)
                metrics = [*found.metrics(), *spliced, *redundancy, *probed.metrics, *absorbed[member.key]]
                stage.write("studied_saes", [_row(of, member) | own])
                stage.write("sae_quality", [metric_row(metric) | own for metric in metrics], sae=member.key)
                stage.write("sae_density", [row | own for row in density_rows(found.densities)], sae=member.key)
                stage.write(
                    "studied_features", [row | own for row in feature_rows(quality[member.key])], sae=member.key
                )
                if probed.rows:
                    stage.write("sae_probing", [row | own for row in probed.rows], sae=member.key)
                if log := training_log(member):
                    stage.write("sae_training", [row | own for row in log], sae=member.key)
                stage.tokens_run = int(losses.n_predicted.sum())
            say("sae_study", f"{member.label}: {_told(metrics)}")


def _splice(of: SAEStudy, layer: int, members: Sequence[Member]) -> SpliceLosses:
    study = of.study
    held_out = stored_sequences(study.warehouse, study.collection, splits=["test"])
    sequences = evenly_spaced(held_out, of.settings.judging.n_sequences)
    lm = language_model(study.model)
    spliced = {member.key: (layer, member.sae.to(lm.device)) for member in members}
    with Progress("sae_study", len(sequences), "sequences", f"{len(members)} SAEs spliced in") as progress:
        return splice_losses(
            lm,
            spliced,
            sequences,
            median_norm=study.row.median_norms,
            site=study.row.site,
            kl=True,
            on_sequences=progress.advance,
        )


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
    sae, trained = member.of, member.baseline is None and member.of.is_trained
    return {
        "label": member.label,
        "source": (member.baseline and "baseline") or sae.path or sae.release or "trained",
        "layer": member.layer,
        "site": of.study.row.site,
        "architecture": member.baseline or (sae.architecture if trained else member.sae.architecture),
        "d_sae": member.sae.d_sae,
        "k": sae.k if trained or member.baseline else member.sae.k,
        "seed": sae.seed if trained or member.baseline == "random" else None,
        "n_tokens_trained": training_log(member)[-1]["tokens"] if trained else None,
        "path": f"artifacts/studied_saes/{member.weights.key}",
        "weights_hash": member.sae.weights_hash,
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
