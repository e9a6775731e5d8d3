"""Rows of stage ``fate``: links of features between two layers, and agreements of ablations."""

from typing import Any

import numpy as np

from ato.causal.source_ablation import MATCHED, AblationAgreement
from ato.evaluation.verdicts import verdicts
from ato.numerics.intervals import EstimateArray
from ato.sae_studies.links import FeatureLinks
from ato.sae_studies.pathways import PathwayShares
from tasks.engine.columns import estimate_columns
from tasks.fate.stages import FatePlan, FateStage
from warehouse.catalog.lookups import SAERow
from warehouse.storage.parquet import null_where, null_where_nan

Columns = dict[str, Any]


def link_columns(
    of: FateStage, ends: tuple[SAERow, SAERow], links: FeatureLinks, plan: FatePlan, shares: PathwayShares | None = None
) -> Columns:
    """Columns of ``feature_links`` of the first SAE's features beside the second one, with shares beside an earlier layer."""
    own, other = ends
    n = len(links.feature)
    limits = {"transported_above": plan.own.same_above, "computed_below": plan.own.other_below}
    named = {
        "collection": of.stage.collection,
        "evaluation": of.stage.key,
        "sae": own.sae,
        "layer": own.layer,
        "other_sae": other.sae,
        "other_layer": other.layer,
        "operator": of.pair.operator_key(plan.own.method),
        "method": plan.own.method,
    }
    columns: Columns = {name: [value] * n for name, value in named.items()}
    columns |= {
        "feature_id": np.arange(n, dtype=np.int32),
        "nearest_feature": null_where(links.feature.astype(np.int32), links.feature < 0),
        "decoder_cosine": links.cosine,
        "decoder_cosine_chance": np.full(n, links.cosine_chance),
        "decoder_verdict": verdicts(EstimateArray(*[links.cosine] * 3), **limits),
        "transport_feature": null_where(links.transport_feature.astype(np.int32), links.transport_feature < 0),
        "transport_cosine": links.transport_cosine,
        "transport_cosine_chance": np.full(n, links.transport_chance),
        "transport_verdict": verdicts(EstimateArray(*[links.transport_cosine] * 3), **limits),
    }
    return _missing_as_null(columns | (_no_shares(n) if shares is None else _shares(shares, plan)))


def _shares(shares: PathwayShares, plan: FatePlan) -> Columns:
    missed = shares.not_transported
    arrives = EstimateArray(1 - missed.value, 1 - missed.high, 1 - missed.low)
    through, transported = (EstimateArray(*(end[m] for end in vars(shares.through).values())) for m in range(2))
    return {
        "n_active": shares.n_active,
        "n_documents": shares.n_documents,
        "pathway_verdict": verdicts(arrives, **_limits(plan)),
        **estimate_columns(through=through, through_transported=transported, not_transported=missed),
    }


def _no_shares(n: int) -> Columns:
    nothing = EstimateArray(*[np.full(n, np.nan)] * 3)
    numbers = estimate_columns(through=nothing, through_transported=nothing, not_transported=nothing)
    return {"n_active": [None] * n, "n_documents": [None] * n, "pathway_verdict": [None] * n, **numbers}


def ablation_columns(
    of: FateStage, direction: str, found: AblationAgreement, plan: FatePlan, matched: np.ndarray | None
) -> Columns:
    """Columns of ``feature_ablations`` of one direction; ``matched`` [c] are the source features, where there are any."""
    n = len(of.features)
    named = {
        "collection": of.stage.collection,
        "evaluation": of.stage.key,
        "sae": of.sae.sae,
        **of.pair.columns,
        "operator": of.pair.operator_key(plan.own.method),
        "method": plan.own.method,
        "direction": direction,
    }
    source = np.full(n, -1) if matched is None or direction != MATCHED else matched
    columns: Columns = {name: [value] * n for name, value in named.items()}
    return _missing_as_null(
        columns
        | {
            "feature_id": np.array(of.features, dtype=np.int32),
            "source_feature": null_where(source.astype(np.int32), source < 0),
            "n_tokens": found.n_tokens,
            "n_documents": found.n_documents,
            "predicted": found.predicted,
            "measured": found.measured,
            "verdict": verdicts(found.agreement, **_limits(plan)),
            **estimate_columns(
                agreement=found.agreement, agreement_identity=found.agreement_identity, slope=found.slope
            ),
        }
    )


def _limits(plan: FatePlan) -> dict[str, float]:
    return plan.evaluate.model_dump(include={"transported_above", "computed_below"})


def _missing_as_null(columns: Columns) -> Columns:
    return {
        name: null_where_nan(values) if getattr(values, "dtype", None) == np.float64 else values
        for name, values in columns.items()
    }
