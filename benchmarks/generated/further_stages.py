"""The stages of a generated study that other questions than transport are asked of: fates, labels, entities, graphs, SAE studies,
Jacobians and other models. Keys and sizes are those of a study; what nobody says is drawn at random within its declared range."""

from datetime import timedelta
from typing import Any

import numpy as np

from benchmarks.generated.drawn_rows import (
    LIST_LENGTH,
    Rows,
    every,
    n_chosen,
    names_of,
    numbered_names,
    sae_of,
    write_drawn,
)
from benchmarks.generated.entities import entity_stages
from benchmarks.generated.pairs import SOURCES, TARGETS
from benchmarks.generated.rows import N_SEQUENCES, STARTED
from benchmarks.generated.sae_study import sae_study_stages
from benchmarks.generated.studies import study_key
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

VERDICTS = ("transported", "computed", "undetermined")
JUDGES, SCORERS = ("overlap", "a language model"), ("detection", "fuzzing", "intruder", "embedding")
N_ABLATED, N_WINDOWS, N_TRIALS, N_PROPERTIES = 16, 30, 20, 3
N_PROMPTS, N_NODES, N_EDGES, N_TOKENS = 6, 500, 10_000, 16
OTHER_MODELS = ("model-step1000", "model-step8000")


def write_stages(warehouse: Warehouse, n_features: int) -> None:
    """Add the further stages to the study that ``write_study`` has written."""
    rng = np.random.default_rng(1)
    runs = [
        *_fates(n_features),
        *_labels(n_features),
        *entity_stages(n_features),
        *_graphs(rng),
        *sae_study_stages(n_features),
    ]
    runs += [*_jacobians(), *_comparisons(n_features)]
    for order, (stage, key, inputs, rows) in enumerate(runs):
        files = [write_drawn(warehouse, rng, f"{key}-{i}", *one) for i, one in enumerate(rows)]
        started = STARTED + timedelta(days=1, minutes=order)
        own = {"collection": study_key(0), "settings": {"stage": stage}, "files": files, "inputs": inputs}
        commit(warehouse, stage, key, seconds=1.0, started_at=started, **own)


def _fates(n: int) -> Any:
    for layer in TARGETS:
        key, others = f"fate-{layer}", (*SOURCES, *(other for other in TARGETS if other != layer))
        own = {"evaluation": key, "sae": sae_of(layer), "layer": layer, "method": "ridge"}
        links: Rows = [
            (
                "feature_links",
                n,
                own | {"other_sae": sae_of(other), "other_layer": other, "feature_id": np.arange(n)} | said,
            )
            for other in others
            for said in [
                {f"{of}_verdict": names_of(VERDICTS, np.arange(n) % 3) for of in ("decoder", "transport", "pathway")}
            ]
        ]
        ids, directions = every(N_ABLATED, 3)
        tried = {"feature_id": ids, "direction": names_of(("pullback", "matched", "random"), directions)}
        tried["verdict"] = names_of(VERDICTS, ids % 3)
        links += [
            (
                "feature_ablations",
                len(ids),
                own | tried | {"source_layer": source, "leap": layer - source, "target_layer": layer},
            )
            for source in SOURCES
        ]
        yield "fate", key, (), links


def _labels(n: int) -> Any:
    chosen = n_chosen(n)
    for layer in TARGETS:
        evidence = f"evidence-{layer}"
        of = {"evidence": evidence, "sae": sae_of(layer), "layer": layer}
        ids, windows = every(chosen, N_WINDOWS)
        kinds = names_of(("top", "quantile", "random", "silent"), windows % 4)
        splits, tiers = names_of(("train", "val", "test"), windows % 3), np.where(windows % 4 == 3, "random", None)
        shown = {
            "feature_id": ids,
            "window_id": windows,
            "kind": kinds,
            "split": splits,
            "tier": tiers,
            "rank": windows + 1,
        }
        numbers = {
            "quantile": None,
            "position": 4,
            "start": 0,
            "sequence_id": ids % N_SEQUENCES,
            "document": ids % N_SEQUENCES,
        }
        places = np.arange(1, chosen + 1)
        bins, near = every(chosen, 20), every(chosen, 2, 5)
        yield (
            "label_evidence",
            evidence,
            (),
            [
                ("labelled_sources", 1, of | {"source": "sae", "d_sae": 16_384}),
                (
                    "labelled_features",
                    chosen,
                    of | {"source": "sae", "feature_id": places - 1, "place": places, "ordered_by": "score"},
                ),
                ("example_windows", len(ids), of | shown | numbers),
                (
                    "feature_histograms",
                    len(bins[0]),
                    of | {"feature_id": bins[0], "bin": bins[1], "low": bins[1], "high": bins[1] + 1},
                ),
                (
                    "feature_strata",
                    len(bins[0]),
                    of | {"feature_id": bins[0], "stratum": "topic", "value": numbered_names("topic", bins[1])},
                ),
                (
                    "feature_neighbours",
                    len(near[0]),
                    of
                    | {
                        "feature_id": near[0],
                        "method": names_of(("coactivation", "decoder"), near[1]),
                        "rank": near[2] + 1,
                    },
                ),
            ],
        )
        for judge in JUDGES:
            key = f"label-{layer}-{JUDGES.index(judge)}"
            said = of | {"labelling": key, "judge": judge}
            features, scorers, controls, trials = every(chosen, len(SCORERS), 2, N_TRIALS)
            asked = {
                "feature_id": features,
                "scorer": names_of(SCORERS, scorers),
                "trial": trials,
                "expected": trials % 2,
            }
            asked |= {
                "control": names_of(("none", "shuffled"), controls),
                "tier": "random",
                "split": "test",
                "candidate": 0,
            }
            asked["answered"] = (trials + features) % 2
            scored, tests, tiers_, against = every(chosen, len(SCORERS), 4, 2)
            known = {
                "feature_id": scored,
                "scorer": names_of(SCORERS, tests),
                "control": names_of(("none", "shuffled"), against),
            }
            known |= {
                "tier": names_of(("all", "random", "same_stratum", "near_miss"), tiers_),
                "measure": "balanced_accuracy",
            }
            labelled, properties = every(chosen, N_PROPERTIES)
            classes = {
                "feature_id": labelled,
                "property": numbered_names("property", properties),
                "value": numbered_names("class", labelled % 7),
            }
            yield (
                "label",
                key,
                (evidence,),
                [
                    (
                        "feature_descriptions",
                        chosen,
                        said | {"feature_id": places - 1, "candidate": 0, "chosen": True, "origin": "judge"},
                    ),
                    ("detection_trials", len(features), said | asked),
                    ("description_scores", len(scored), said | known | {"chance": 0.5}),
                    ("feature_labels", len(labelled), said | classes | {"space": "a space"}),
                    (
                        "llm_calls",
                        5 * chosen,
                        said
                        | {
                            "call": numbered_names("call", np.arange(5 * chosen)),
                            "purpose": "detection",
                            "status": "answered",
                        },
                    ),
                ],
            )


def _graphs(rng: np.random.Generator) -> Any:
    nodes = np.arange(N_NODES)
    kind = np.where(nodes < N_NODES - 3 * N_TOKENS, "feature", np.where(nodes < N_NODES - N_TOKENS, "error", "token"))
    kind[-3:] = "logit"
    feature = kind == "feature"
    layer = np.where(kind == "logit", 26, np.where(kind == "token", -1, np.array(TARGETS)[nodes % 2]))
    own = {
        "node": nodes,
        "node_id": numbered_names("node", nodes),
        "kind": kind,
        "layer": layer,
        "position": nodes % N_TOKENS,
    }
    own |= {"sae": np.where(feature, names_of([sae_of(target) for target in TARGETS], nodes % 2), None)}
    own |= {"feature_id": np.where(feature, nodes, None)}
    for prompt in range(N_PROMPTS):
        key, rows = f"graph-{prompt}", []
        for graph in ("attribution", "transport"):
            of = {"graph_set": key, "prompt": f"prompt {prompt}", "graph_kind": graph}
            pairs = rng.choice(N_NODES * N_NODES, N_EDGES, replace=False)
            source, target = (side.astype(np.int32) for side in np.divmod(pairs, N_NODES))
            ends = {"source": source, "target": target, "weight": rng.normal(size=N_EDGES)}
            ends["ablation"] = np.where(np.arange(N_EDGES) % 100 == 0, ends["weight"], None)
            about = {
                "n_nodes": N_NODES,
                "n_edges": N_EDGES,
                "precision": "float32",
                "n_tokens": LIST_LENGTH,
                "path": None,
            }
            heads = {name: ends[name][:2_000] for name in ("source", "target")} | {"layer": 19, "head": 0}
            rows += [
                ("graphs", 1, of | about),
                ("graph_nodes", N_NODES, of | own),
                ("graph_edges", N_EDGES, of | ends),
                ("graph_heads", 2_000, of | heads),
            ]
        yield "graphs", key, (), rows
    numbers = np.arange(500)
    found = {"graph_set": "motifs", "graph_kind": "attribution", "source_feature": numbers, "target_feature": numbers}
    found |= {"source_layer": TARGETS[0], "leap": TARGETS[1] - TARGETS[0], "target_layer": TARGETS[1], "n_graphs": 2}
    found |= {"source_sae": sae_of(TARGETS[0]), "target_sae": sae_of(TARGETS[1]), "n_prompts": N_PROMPTS}
    yield "graph_motifs", "motifs", (), [("graph_motifs", len(numbers), found)]


def _jacobians() -> Any:
    for target in TARGETS:
        for source in SOURCES:
            own = {
                "jacobian": f"jacobian-{source}-{target}",
                "source_layer": source,
                "leap": target - source,
                "target_layer": target,
            }
            parts = ("jacobian_convergence", 20, own | {"part": np.arange(20)})
            yield "jacobians", own["jacobian"], (), [("jacobians", 1, own | {"positions": "same"}), parts]


def _comparisons(n: int) -> Any:
    for model in OTHER_MODELS:
        for target in TARGETS:
            key, rows = f"compare-{model}-{target}", []
            for source in SOURCES:
                of = {
                    "comparison": key,
                    "other_collection": f"{model}-corpus",
                    "other_model": model,
                    "sae": sae_of(target),
                }
                of |= {"source_layer": source, "leap": target - source, "target_layer": target}
                of |= {
                    "position_policy": "same",
                    "method": "ridge",
                    "operator": f"ridge-L{source:02d}-k{target - source:02d}",
                }
                said = {
                    "verdict": names_of(VERDICTS, np.arange(n) % 3),
                    "other_verdict": names_of(VERDICTS, np.arange(n) % 3),
                }
                rows += [
                    ("comparisons", 1, of | {"n_features": n, "other_operator": "ridge"}),
                    (
                        "feature_comparisons",
                        n,
                        {k: v for k, v in of.items() if k != "operator"} | {"feature_id": np.arange(n)} | said,
                    ),
                ]
            yield "compare", key, (), rows
