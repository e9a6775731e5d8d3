"""The tables of a small finished study with planted answers: r2 falls with the leap, transport costs least."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tests.warehouse.small_warehouse import COLLECTION, collect_rows, commit_stage, row, write
from warehouse.storage.warehouse import Warehouse

SAES = {4: "sae-layer04-aaaa0000", 6: "sae-layer06-bbbb0000"}
PAIRS = [(source, target) for target, source in product(SAES, range(1, 6)) if source < target]
N_FEATURES = 20
SELECTED = range(8)
SETS = ("10,50,70,100,120", "11,51,71,101,121", "12,52,72,102,122")
COST = {"transport": 0.02, "identity": 0.05, "mean": 0.3, "bias": 0.35, "random_rotation": 0.9, "zero": 2.5}


def mean_r2(source: int, target: int) -> float:
    """The planted mean r2 of a pair's features: falls with the leap and with depth."""
    return 0.95 - 0.12 * (target - source) - 0.01 * target


def pair(source: int, target: int) -> dict[str, Any]:
    """A pair as columns."""
    return {"source_layer": source, "leap": target - source, "target_layer": target}


def interval(name: str, value: float, half: float = 0.03) -> dict[str, float]:
    """A score with its interval as columns."""
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def _operators() -> dict[str, list[dict[str, Any]]]:
    operators, spectra, curves, shares, features, averages, differences = ([] for _ in range(7))
    for source, target in PAIRS:
        name, own = f"ridge-{source}-{target}", pair(source, target)
        r2, evaluation = mean_r2(source, target), {"evaluation": f"evaluate-{source}-{target}"}
        operators += [
            row(
                "operators", operator=name, **own, n_test=400, n_test_documents=20, r2_val=r2, **interval("r2_test", r2)
            ),
            row("operators", operator=f"identity-{source}-{target}", method="identity", **own, r2_test=r2 - 0.2),
        ]
        angles = np.linspace(0.1, 3, 8)
        spectra += [
            row(
                "operator_spectra",
                operator=name,
                **own,
                mode=i + 1,
                singular_value=2 / (i + 1),
                eigenvalue_real=np.cos(a) / (i + 1),
                eigenvalue_imag=np.sin(a) / (i + 1),
            )
            for i, a in enumerate(angles)
        ]
        curves += [
            row(
                "efficiency",
                **own,
                **evaluation,
                rank=rank,
                d_kept=16,
                n_train=4000,
                n_test=400,
                ceiling_in_sample=r2 * rank / 16 + 0.04,
                ceiling_null=0.04 * rank / 16,
                **interval("ceiling_held_out", r2 * rank / 16),
                **interval("r2_rrr", 0.95 * r2 * rank / 16, 0.01),
                **interval("efficiency", 0.95),
                r2_svd_paper=r2 * rank / 16 - 0.5,
                ceiling_paper=r2 * rank / 16 + 0.04,
                efficiency_paper=(r2 * rank / 16 - 0.5) / (r2 * rank / 16 + 0.04),
            )
            for rank in (1, 2, 4, 8, 16)
        ]
        shares += [
            row(
                "scaling",
                **own,
                **evaluation,
                fraction_asked=f,
                fraction=f**0.8,
                fraction_documents=f,
                n_train=int(4000 * f),
                n_test=400,
                n_test_documents=20,
                **interval("r2", r2 * f**0.1),
            )
            for f in (0.1, 0.5, 1.0)
        ]
        features += [
            row(
                "feature_transport",
                operator=name,
                sae=SAES[target],
                **own,
                **evaluation,
                feature_id=f,
                n_active=30 + f,
                activation_rate=(30 + f) / 1000,
                sae_trusted=True,
                verdict="transported",
                **interval("r2", r2 + 0.02 * (f - 9.5) / 19, 0.005),
            )
            for f in range(N_FEATURES)
        ]
        judged = {"operator": name, "sae": SAES[target], **own, **evaluation, "n_documents": 20}
        over = [
            ("all", N_FEATURES, r2),
            ("selected", len(SELECTED), r2 + 0.02 * (sum(SELECTED) / len(SELECTED) - 9.5) / 19),
        ]
        for choice, n, mean in over:
            shared = {**judged, "features": choice, "n_features": n}
            averages.append(
                row("feature_transport_averages", **shared, statistic="mean_r2", **interval("value", mean, 0.005))
            )
            against = {"against": f"identity-{source}-{target}", "against_method": "identity"}
            differences.append(row("feature_transport_differences", **shared, **against, **interval("difference", 0.2)))
    composed = [
        row(
            "compositions",
            evaluation="evaluate-1-6",
            **pair(source, 6),
            middle_layer=4,
            n_test=400,
            n_test_documents=20,
            **interval("r2_direct", mean_r2(source, 6)),
            **interval("r2_composed", mean_r2(source, 6) - 0.05),
            **interval("r2_lost", 0.05),
            relative_distance=0.3,
        )
        for source in (1, 2, 3)
    ]
    return {
        "operators": operators,
        "operator_spectra": spectra,
        "efficiency": curves,
        "scaling": shares,
        "feature_transport": features,
        "feature_transport_averages": averages,
        "feature_transport_differences": differences,
        "compositions": composed,
    }


def _features() -> dict[str, list[dict[str, Any]]]:
    scores, examples = [], []
    for layer, sae in SAES.items():
        own = {"scoring": f"scores-{layer}", "layer": layer, "sae": sae}
        scores += [
            row(
                "feature_scores",
                **own,
                feature_id=f,
                n_active=30 + f,
                score=1 - f / 20,
                rank=f + 1,
                selected=f in SELECTED,
                top_tokens=[" peace", "<b>", " war"],
                top_logits=[3.0, 2.0, 1.0],
                token_entropy=1.5,
                focus_z=6.0,
                redundancy=0.2,
                n_ablated=240,
                n_ablated_documents=12,
                **interval("causal_effect", 0.01, 0.004),
            )
            for f in range(N_FEATURES)
        ]
        examples += [
            row(
                "feature_examples",
                **own,
                feature_id=f,
                rank=rank,
                sequence_id=3,
                position=2,
                activation=3.5,
                tokens=[" the", " <i>&", " of"],
                activations=[0.0, 3.5, 1.25],
            )
            for f in SELECTED
            for rank in (1, 2)
        ]
    explanation = row(
        "explanations",
        layer=4,
        feature_id=0,
        sae=SAES[4],
        explanation_id="e1",
        description="words of peace & war",
        alignment=0.8,
        aligned=True,
    )
    return {"feature_scores": scores, "feature_examples": examples, "explanations": [explanation]}


def causal_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables of stage ``causal``: every pair at the study's three sets of positions."""
    losses, effects = [], []
    for (source, target), positions in product(PAIRS, SETS):
        own = {"evaluation": f"causal-{source}-{target}", **pair(source, target)}
        for name, cost in COST.items():
            losses += [
                row(
                    "causal_perplexity",
                    **own,
                    operator=f"ridge-{source}-{target}",
                    intervention=name,
                    positions=positions,
                    sequence_id=s,
                    document=s // 2,
                    n_edited=5,
                    log_ppl=3 + 0.1 * s + cost * (1 + 0.01 * s),
                )
                for s in range(10)
            ]
            effects.append(
                row(
                    "causal_effects",
                    **own,
                    intervention=name,
                    positions=positions,
                    n_sequences=10,
                    n_documents=5,
                    **interval("log_ppl", 3.45 + cost, 0.2),
                    **interval("delta_log_ppl", cost, cost / 10),
                )
            )
    differences = [
        row(
            "causal_differences",
            evaluation=f"causal-{source}-{target}",
            **pair(source, target),
            rival=rival,
            position_set=positions,
            n_sequences=10,
            n_documents=5,
            p=0.0625,
            **interval("difference", COST["transport"] - cost, 0.01),
            **interval("difference_edited_onwards", 2 * (COST["transport"] - cost), 0.02),
            **interval("difference_kl", COST["transport"] - cost, 0.01),
        )
        for (source, target), positions in product(PAIRS, (*SETS, "study"))
        for rival, cost in COST.items()
        if rival != "transport"
    ]
    unedited = [
        row(
            "causal_effects",
            evaluation=f"causal-{source}-{target}",
            **pair(source, target),
            positions="",
            log_ppl=3.45,
            n_sequences=10,
            n_documents=5,
        )
        for source, target in PAIRS
    ]
    return {
        "causal_perplexity": losses,
        "causal_effects": [*effects, *unedited],
        "causal_differences": differences,
    }


def build_study(root: Path) -> Warehouse:
    """Write the study; its collection is ``small_warehouse.COLLECTION``."""
    warehouse = Warehouse(root)
    saes = [
        row(
            "saes",
            layer=layer,
            sae=sae,
            d_sae=N_FEATURES + 2,
            l0=4.0,
            trusted=layer == 4,
            weights_hash="x" if layer == 6 else sae,  # that of the SAE that a study loads
            **interval("fvu", 0.2),
        )
        for layer, sae in SAES.items()
    ]
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    commit_stage(warehouse, "saes", write(warehouse, {"saes": saes}))
    commit_stage(warehouse, "features", write(warehouse, _features()))
    commit_stage(warehouse, "evaluate", write(warehouse, _operators()))
    commit_stage(warehouse, "causal", write(warehouse, causal_rows()))
    return warehouse


__all__ = [
    "COLLECTION",
    "COST",
    "N_FEATURES",
    "PAIRS",
    "SAES",
    "SELECTED",
    "SETS",
    "build_study",
    "causal_rows",
    "mean_r2",
]
