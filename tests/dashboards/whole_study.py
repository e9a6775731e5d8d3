"""A small study in which every table of the pages has rows: the reported study, and what its report does not need."""

from itertools import product
from pathlib import Path
from typing import Any

from tests.tasks.reported_study import COST, N_FEATURES, PAIRS, SAES, SETS, build_study, interval, mean_r2, pair
from tests.warehouse.compare_rows import write_comparisons
from tests.warehouse.embedding_rows import write_embeddings
from tests.warehouse.entity_rows import write_entities
from tests.warehouse.fate_rows import write_fates
from tests.warehouse.graph_rows import write_graphs
from tests.warehouse.label_rows import write_labelling
from tests.warehouse.neuron_rows import write_neurons
from tests.warehouse.sae_study_rows import write_sae_study
from tests.warehouse.small_warehouse import attended_rows, commit_stage, row, write, write_activations
from warehouse.storage.warehouse import Warehouse

N_STEPS = 5
STOPPING, UNSCORED = N_FEATURES, N_FEATURES + 1
"""Features of the SAE at layer 6: carried over leaps of 1 and 2 and not further, and never active enough to score."""
ABLATED = 3
"""The feature whose ablation was tried."""


def build_whole_study(root: Path) -> Warehouse:
    """Write the study; its collection is ``small_warehouse.COLLECTION``."""
    warehouse = build_study(root)
    stages = {
        "saes": _training(),
        "features": _statistics(),
        "operators": _fitting(),
        "evaluate": _evaluations(),
        "causal": _causal(),
    }
    collected = write_activations(warehouse) + write(warehouse, attended_rows(), "more")
    commit_stage(warehouse, "collect", collected, key="collect-more")
    for stage, tables in stages.items():
        commit_stage(warehouse, stage, write(warehouse, tables, "more"), key=f"{stage}-more")
    write_entities(warehouse, SAES, N_FEATURES, PAIRS)
    write_sae_study(warehouse)
    write_labelling(warehouse)
    write_neurons(warehouse)
    write_graphs(warehouse)
    write_fates(warehouse, SAES, N_FEATURES)
    write_comparisons(warehouse)
    write_embeddings(warehouse, {SAES[4]: 4})
    return warehouse


def _training() -> dict[str, list[dict[str, Any]]]:
    steps = [
        row(
            "sae_training",
            sae=sae,
            architecture="topk",
            step=10 * i,
            tokens=1000 * i,
            mse=1 / (i + 1),
            fvu=0.8 / (i + 1),
            l0=4.0,
            dead_share=0.1 * i / N_STEPS,
            lr=1e-3,
            n_resampled=0,
            fvu_held_out=None,
        )
        for sae in SAES.values()
        for i in range(N_STEPS)
    ]
    checks = [
        row(
            "quality_results",
            stage="saes",
            key="saes-1",
            table_name="saes",
            expectation=name,
            success=True,
            n_checked=2,
        )
        for name in ("keys_are_unique", "no_nan")
    ]
    return {"sae_training": steps, "quality_results": checks}


def _statistics() -> dict[str, list[dict[str, Any]]]:
    """Feature 0 never fires; the last is the most active."""
    known = [
        row(
            "feature_stats",
            sae=sae,
            layer=layer,
            feature_id=f,
            n_tokens=1000,
            n_active=10 * f,
            activation_rate=f / 100,
            n_documents_active=min(f, 20),
            mean_activation=1.0 + f if f else None,
            std_activation=0.5 if f else None,
            max_activation=2.0 + f if f else None,
            decoder_norm=1.0,
        )
        for layer, sae in SAES.items()
        for f in range(N_FEATURES + 2)
    ]
    scores = [
        row(
            "feature_scores",
            scoring="scores-6",
            sae=SAES[6],
            layer=6,
            feature_id=f,
            n_active=5,
            top_tokens=[" odd"],
            top_logits=[1.0],
        )
        for f in (STOPPING, UNSCORED)
    ]
    return {"feature_stats": known, "feature_scores": scores}


def _fitting() -> dict[str, list[dict[str, Any]]]:
    strengths = [
        row(
            "operator_cv",
            operator=f"ridge-{source}-{target}",
            **pair(source, target),
            alpha=alpha,
            fold=fold,
            r2=mean_r2(source, target) - 0.01 * abs(alpha - 10) / 10 + 0.001 * fold,
        )
        for (source, target), alpha, fold in product(PAIRS, (1.0, 10.0, 100.0), range(3))
    ]
    mean = [
        row("operators", operator=f"mean-{s}-{t}", method="mean", **pair(s, t), r2_test=0.0, r2_val=0.0)
        for s, t in PAIRS
    ]
    return {"operator_cv": strengths, "operators": mean}


def _evaluations() -> dict[str, list[dict[str, Any]]]:
    features, modes, spaces = [], [], []
    for source, target in PAIRS:
        own = pair(source, target) | {"evaluation": f"evaluate-{source}-{target}"}
        judged = own | {"operator": f"ridge-{source}-{target}", "sae": SAES[target], "sae_trusted": target == 4}
        if target == 6:
            carried, verdict = (0.9, "transported") if target - source <= 2 else (0.1, "computed")
            features += [
                row(
                    "feature_transport",
                    **judged,
                    feature_id=STOPPING,
                    n_active=50,
                    n_documents=20,
                    verdict=verdict,
                    ceiling=0.95,
                    skill=0.5,
                    **interval("r2", carried),
                ),
                row("feature_transport", **judged, feature_id=UNSCORED, n_active=2, verdict="undetermined"),
            ]
        # Beside ridge, the operator that changes nothing: the same features, 0.2 worse.
        features += [
            row(
                "feature_transport",
                **judged | {"operator": f"identity-{source}-{target}"},
                method="identity",
                feature_id=f,
                n_active=30 + f,
                verdict="undetermined",
                **interval("r2", mean_r2(source, target) - 0.2),
            )
            for f in range(N_FEATURES)
        ]
        modes += [
            row("canonical_correlations", **own, mode=m, rho_in_sample=0.95**m, rho_held_out=0.9**m, rho_null=0.2)
            for m in range(1, 9)
        ]
        spaces.append(
            row(
                "subspaces",
                **own,
                d_kept=16,
                n_train=4000,
                lts_dim_participation=9.0,
                lts_rank_90=4,
                lts_rank_95=8,
                lts_rank_99=16,
                lts_rank_90_paper=4,
                lts_rank_95_paper=8,
                lts_rank_99_paper=16,
            )
        )
    return {"feature_transport": features, "canonical_correlations": modes, "subspaces": spaces}


def _causal() -> dict[str, list[dict[str, Any]]]:
    """Losses of the unedited model, and one feature's ablation and transport where it is active; no KL for ``bias``."""
    losses, effects = [], []
    for source, target in PAIRS:
        own = pair(source, target) | {"evaluation": f"causal-{source}-{target}"}
        losses += [
            row(
                "causal_perplexity",
                **own,
                operator=f"ridge-{source}-{target}",
                intervention="none",
                positions="",
                sequence_id=s,
                document=s // 2,
                log_ppl=3 + 0.1 * s,
            )
            for s in range(10)
        ]
        effects += [
            row(
                "causal_effects",
                **own,
                intervention=name,
                positions="active",
                feature_id=ABLATED,
                n_sequences=10,
                n_documents=5,
                **interval("log_ppl", 3.45 + cost, 0.2),
                **interval("delta_log_ppl", cost, cost / 5),
                **interval("delta_edited_onwards", 2 * cost, cost / 5),
                **interval("kl", cost / 2, cost / 10),
            )
            for name, cost in (("feature_transport", 0.001), ("feature_zero", 0.004))
        ]
        effects += [
            row(
                "causal_effects",
                **own,
                intervention=name,
                positions=edited,
                n_sequences=10,
                n_documents=5,
                **interval("log_ppl", 3.45 + cost * share, 0.2),
                **interval("delta_log_ppl", cost * share, cost / 10),
                **interval("delta_edited_onwards", 2 * cost * share, cost / 10),
                **interval("kl", cost * share, cost / 10),
            )
            for name, cost in COST.items()
            for edited, share in (("60", 0.2), ("60,61", 0.4), ("all", 10.0))
        ]
    return {"causal_perplexity": losses, "causal_effects": effects}


__all__ = ["ABLATED", "N_STEPS", "SETS", "STOPPING", "UNSCORED", "build_whole_study"]
