"""Fates of a few features beside a small study: rows of the stage ``fate`` with planted answers."""

from collections.abc import Mapping
from datetime import timedelta

from tests.warehouse.small_warehouse import COLLECTION, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

KEY = "fate-L04-k02"
ABLATED = range(6)
DIED = 7
"""The feature of the lower SAE that has no heir."""


def write_fates(warehouse: Warehouse, saes: Mapping[int, str], n_features: int) -> None:
    """Write and commit the links between two SAEs, and ablations of the higher one's first features."""
    low, high = sorted(saes)
    pair = {"source_layer": low, "leap": high - low, "target_layer": high}
    shared = {"evaluation": KEY, "operator": f"ridge-{low}-{high}"}

    def link(own: int, other: int, feature: int, cosine: float) -> dict:
        verdict = "transported" if cosine >= 0.7 else "computed" if cosine <= 0.3 else "undetermined"
        back = other < own
        shares = (
            {
                "n_active": 30,
                "n_documents": 10,
                "through": cosine,
                "not_transported": 1 - cosine,
                "pathway_verdict": verdict,
            }
            if back
            else {}
        )
        return row(
            "feature_links",
            **shared,
            sae=saes[own],
            layer=own,
            feature_id=feature,
            other_sae=saes[other],
            other_layer=other,
            nearest_feature=feature,
            decoder_cosine=cosine,
            decoder_cosine_chance=0.2,
            decoder_verdict=verdict,
            transport_feature=feature,
            transport_cosine=cosine,
            transport_cosine_chance=0.2,
            transport_verdict=verdict,
            **shares,
        )

    def ablation(feature: int, direction: str) -> dict:
        agreement = 0.9 - 0.2 * feature - 0.1 * (direction == "random")
        return row(
            "feature_ablations",
            **shared,
            **pair,
            sae=saes[high],
            feature_id=feature,
            direction=direction,
            n_tokens=40,
            n_documents=10,
            predicted=1.0,
            measured=1.0 if direction == "pullback" else 0.3,
            agreement=agreement,
            agreement_low=agreement - 0.05,
            agreement_high=agreement + 0.05,
            slope=agreement,
            verdict="transported" if agreement >= 0.75 else "computed" if agreement <= 0.25 else "undetermined",
        )

    tables = {
        "feature_links": [
            *(link(high, low, f, 1 - f / n_features) for f in range(n_features)),
            *(link(low, high, f, 0.1 if f == DIED else 0.9) for f in range(n_features)),
        ],
        "feature_ablations": [ablation(f, name) for f in ABLATED for name in ("pullback", "matched", "random")],
    }
    files = write(warehouse, tables, KEY)
    started = STARTED + timedelta(hours=4)
    commit(warehouse, "fate", KEY, collection=COLLECTION, settings={}, files=files, started_at=started, seconds=2.0)
