"""What the features of an SAE do to the next-token loss: gradients of all, ablations of some."""

import numpy as np

from ato.numerics.evenly import evenly_spaced
from ato.numerics.intervals import Estimate, number_or_none
from ato.sae_studies.attribution import AttributionSettings, feature_attribution
from ato.sae_studies.metrics import Metric
from tasks.engine.model_cache import language_model
from tasks.engine.progress import Progress, say
from tasks.engine.stage import Stage
from tasks.sae_study.metric_rows import metric_row
from tasks.sae_study.stages import Member, SAEStudy
from warehouse.datasets.sequences import stored_sequences

ATTRIBUTED_TOKENS = 32
"""First tokens of each sequence: by both measures, so that they are of the same tokens."""
SITE = "resid_post"
"""Gradients and ablations are those of the residual stream."""


def write_attribution(of: SAEStudy, member: Member, stage: Stage, active: np.ndarray) -> None:
    """Write ``feature_attribution`` of one SAE, and how far gradients and ablations rank its features alike."""
    study, looking = of.study, of.settings.looking
    if member.place.read != SITE:
        say(
            "sae_study",
            f"{member.label}: no effects on the loss at {member.place.read}: only the residual stream has gradients here",
        )
        return
    held_out = stored_sequences(study.warehouse, study.collection, splits=["test"])
    sequences = evenly_spaced(held_out, looking.attribution_sequences)
    living = np.flatnonzero(active)
    drawn = np.random.default_rng(0).permutation(len(living))[: looking.attribution_features]
    candidates = np.sort(living[drawn])  # at random: chosen by either score, ranks would say nothing of the others
    lm = language_model(study.model)
    norms = study.row.median_norms
    with Progress("sae_study", max(len(candidates) * len(sequences), 1), "ablations", member.label) as progress:
        found = feature_attribution(
            lm,
            (member.layer, member.sae.to(lm.device)),
            sequences,
            candidates,
            AttributionSettings(n_tokens=ATTRIBUTED_TOKENS),
            median_norm=norms.get(member.layer),
            on_rows=lambda done, total: progress.reach(done / max(total, 1) * len(candidates) * len(sequences)),
        )
    ablation = dict(zip(found.candidate.tolist(), found.ablation.value.tolist(), strict=True))
    scores = found.gradient_x_activation
    own = {"collection": stage.collection, "sae": member.key}
    rows = [
        own
        | {
            "feature_id": feature,
            "n_active": int(found.n_active[feature]),
            "gradient_x_activation": number_or_none(scores.value[feature]),
            "gradient_low": number_or_none(scores.low[feature]),
            "gradient_high": number_or_none(scores.high[feature]),
            "activation_mass": number_or_none(found.activation_mass[feature]),
            "ablation_effect": number_or_none(ablation[feature]) if feature in ablation else None,
        }
        for feature in found.feature_id.tolist()
    ]
    stage.write("feature_attribution", rows, sae=member.key)
    metrics = [
        _metric("gradient", found.rank_agreement, found.n_ranked, found.n_documents, found.reason),
        _metric("activation mass", found.rank_agreement_of_mass, found.n_ranked, found.n_documents, found.reason),
    ]
    stage.write("sae_quality", [metric_row(metric) | own for metric in metrics], sae=member.key)


def _metric(detail: str, estimate: Estimate, n: int, n_documents: int, reason: str | None) -> Metric:
    missing = None if estimate.value is not None else reason or "too few features were ablated"
    return Metric("attribution_rank_agreement", estimate, n, n_documents, detail, missing)
