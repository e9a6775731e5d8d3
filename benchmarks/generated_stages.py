"""The stages of a generated study that other questions than transport are asked of: fates, labels, entities, graphs, SAE studies,
Jacobians and other models. Keys and sizes are those of a study; what nobody says is drawn at random within its declared range."""

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.generated_warehouse import METHODS, N_EXPLAINED, N_SEQUENCES, SOURCES, STARTED, TARGETS, study_key
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES
from warehouse.tables.declarations import Column

VERDICTS = ("transported", "synthesised", "undetermined")
JUDGES, SCORERS = ("overlap", "a language model"), ("detection", "fuzzing", "intruder", "embedding")
N_ABLATED, N_WINDOWS, N_TRIALS, N_PROPERTIES = 16, 30, 20, 3
TYPES = ("all", "city", "movie", "person")
N_ENTITIES, N_RANKED = 1_000, 10
N_PROMPTS, N_NODES, N_EDGES, N_TOKENS = 6, 800, 20_000, 16
N_STUDIED, N_SNAPSHOTS, N_BINS = 8, 10, 40
METRICS = ("fvu", "ce_recovered", "l0", "dead_share", "kl", "high_frequency_share", "shrinkage", "decoder_redundancy")
OTHER_MODELS = ("model-step1000", "model-step8000")
LIST_LENGTH = 8
STATED = "reason"
"""What says why something is missing: nothing is."""

Rows = list[tuple[str, int, dict[str, Any]]]
"""(table, number of rows, columns with a value or with one value a row) of one run of a stage."""


def write_stages(warehouse: Warehouse, n_features: int) -> None:
    """Add the further stages to the study that ``write_study`` has written."""
    rng = np.random.default_rng(1)
    runs = [*_fates(n_features), *_labels(n_features), *_entities(n_features), *_graphs(rng), *_sae_study(n_features)]
    runs += [*_jacobians(), *_comparisons(n_features)]
    for order, (stage, key, inputs, rows) in enumerate(runs):
        files = [_write(warehouse, rng, f"{key}-{i}", *one) for i, one in enumerate(rows)]
        started = STARTED + timedelta(days=1, minutes=order)
        own = {"collection": study_key(0), "settings": {"stage": stage}, "files": files, "inputs": inputs}
        commit(warehouse, stage, key, seconds=1.0, started_at=started, **own)


def _write(warehouse: Warehouse, rng: np.random.Generator, part: str, table: str, n: int, given: dict[str, Any]) -> Any:
    columns = {
        column.name: _spread(given[column.name], n) if column.name in given else _drawn(column, n, rng)
        for column in TABLES[table].columns
        if column.name != "collection"
    }
    extra = {name: given[name] for name in TABLES[table].partition[1:]}
    return warehouse.write_rows(table, columns, part, collection=study_key(0), **extra)


def _spread(value: Any, n: int) -> Any:
    return value if isinstance(value, np.ndarray) else [value] * n


def _drawn(column: Column, n: int, rng: np.random.Generator) -> Any:
    if column.name.endswith(STATED):
        return [None] * n
    return _values(column.type, n, rng, column.minimum, column.maximum)


def _values(type_: Any, n: int, rng: np.random.Generator, least: float | None, most: float | None) -> Any:
    if pa.types.is_list(type_):
        inner = _values(type_.value_type, n * LIST_LENGTH, rng, least, most)
        return pa.FixedSizeListArray.from_arrays(pa.array(inner, type_.value_type), LIST_LENGTH).cast(type_)
    if pa.types.is_string(type_):
        return np.char.add("word", rng.integers(0, 5_000, n).astype(str)).tolist()
    if pa.types.is_boolean(type_):
        return rng.random(n) < 0.5
    if pa.types.is_timestamp(type_):
        return [STARTED] * n
    low = least if least is not None else 0 if most is None else most - 1
    if pa.types.is_floating(type_):
        return rng.uniform(low, low + 1 if most is None else most, n)
    return rng.integers(int(low), int(low) + 100, n)


def _sae(layer: int) -> str:
    return f"sae-layer{layer:02d}"


def _cross(*counts: int) -> list[np.ndarray]:
    """Every combination of numbers below ``counts``, a column each."""
    return [axis.ravel() for axis in np.meshgrid(*(np.arange(n, dtype=np.int32) for n in counts), indexing="ij")]


def _of(names: Any, numbers: np.ndarray) -> np.ndarray:
    return np.array(names, dtype=object)[numbers]


def _n_chosen(n: int) -> int:
    """Features that stages look at one by one."""
    return max(n // N_EXPLAINED, 4)


def _fates(n: int) -> Any:
    for layer in TARGETS:
        key, others = f"fate-{layer}", (*SOURCES, *(other for other in TARGETS if other != layer))
        own = {"evaluation": key, "sae": _sae(layer), "layer": layer, "method": "ridge"}
        links: Rows = [
            (
                "feature_links",
                n,
                own | {"other_sae": _sae(other), "other_layer": other, "feature_id": np.arange(n)} | said,
            )
            for other in others
            for said in [
                {f"{of}_verdict": _of(VERDICTS, np.arange(n) % 3) for of in ("decoder", "transport", "pathway")}
            ]
        ]
        ids, directions = _cross(N_ABLATED, 3)
        tried = {"feature_id": ids, "direction": _of(("pullback", "matched", "random"), directions)}
        tried["verdict"] = _of(VERDICTS, ids % 3)
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
    chosen = _n_chosen(n)
    for layer in TARGETS:
        evidence = f"evidence-{layer}"
        of = {"evidence": evidence, "sae": _sae(layer), "layer": layer}
        ids, windows = _cross(chosen, N_WINDOWS)
        kinds = _of(("top", "quantile", "random", "silent"), windows % 4)
        splits, tiers = _of(("train", "val", "test"), windows % 3), np.where(windows % 4 == 3, "random", None)
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
        bins, near = _cross(chosen, 20), _cross(chosen, 2, 5)
        yield (
            "label_evidence",
            evidence,
            (),
            [
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
                    of | {"feature_id": bins[0], "stratum": "topic", "value": _named("topic", bins[1])},
                ),
                (
                    "feature_neighbours",
                    len(near[0]),
                    of
                    | {"feature_id": near[0], "method": _of(("coactivation", "decoder"), near[1]), "rank": near[2] + 1},
                ),
            ],
        )
        for judge in JUDGES:
            key = f"label-{layer}-{JUDGES.index(judge)}"
            said = of | {"labelling": key, "judge": judge}
            features, scorers, controls, trials = _cross(chosen, len(SCORERS), 2, N_TRIALS)
            asked = {"feature_id": features, "scorer": _of(SCORERS, scorers), "trial": trials, "expected": trials % 2}
            asked |= {"control": _of(("none", "shuffled"), controls), "tier": "random", "split": "test", "candidate": 0}
            asked["answered"] = (trials + features) % 2
            scored, tests, tiers_, against = _cross(chosen, len(SCORERS), 4, 2)
            known = {"feature_id": scored, "scorer": _of(SCORERS, tests), "control": _of(("none", "shuffled"), against)}
            known |= {
                "tier": _of(("all", "random", "same_stratum", "near_miss"), tiers_),
                "measure": "balanced_accuracy",
            }
            labelled, properties = _cross(chosen, N_PROPERTIES)
            classes = {
                "feature_id": labelled,
                "property": _named("property", properties),
                "value": _named("class", labelled % 7),
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
                        | {"call": _named("call", np.arange(5 * chosen)), "purpose": "detection", "status": "answered"},
                    ),
                ],
            )


def _named(what: str, numbers: np.ndarray) -> np.ndarray:
    return np.char.add(f"{what} ", numbers.astype(str)).astype(object)


def _entities(n: int) -> Any:
    number = np.arange(N_ENTITIES)
    entity, invented = {"entity_id": _named("entity", number)}, number % 5 == 4
    kinds, splits = _of(TYPES[1:], number % 3), _of(("train", "validation", "test"), number % 3)
    label = np.where(invented, "invented", _of(("known", "unknown"), number % 2))
    facts, attributes = _cross(N_ENTITIES, 3)
    asked = {"entity_id": _named("entity", facts), "attribute": _named("attribute", attributes)}
    graded = {"grade": _of(("correct", "wrong", "abstain"), facts % 3), "family": "continuation", "sample": 0}
    own = {"entity_type": kinds, "split": splits, "invented": invented, "name": _named("Name", number)}
    yield (
        "entity_set",
        "set",
        (),
        [
            ("entities", N_ENTITIES, {"entity_set": "set"} | entity | own),
            ("entity_attributes", len(facts), {"entity_set": "set"} | asked),
        ],
    )
    answers = ("entity_answers", len(facts), {"answering": "answers"} | asked | graded | {"log_probability": -1.0})
    yield "entity_answers", "answers", ("set",), [answers]
    yield "entity_answers", "answers-part", ("set", "answers"), []
    labels = {"labelling": "knownness", "answering": "answers", "label": label, "rule": "most are right"}
    yield (
        "entity_labels",
        "knownness",
        ("answers",),
        [("entity_labels", N_ENTITIES, labels | entity | {"confidence": -1.0})],
    )
    place = {"latent_scoring": "latents", "contrast": "known_unknown", "template": "bare", "position": "entity_last"}
    latents: Rows = []
    for layer in TARGETS:
        types, ids = _cross(len(TYPES), n)
        of = {"sae": _sae(layer), "layer": layer, "entity_type": _of(TYPES, types), "feature_id": ids}
        of |= {"direction": _of(("known", "unknown"), ids % 2), "passes_filter": True}
        of["rank"] = np.where((ids < 2 * N_RANKED) & (layer == TARGETS[-1]), ids // 2 + 1, None)
        latents.append(("entity_latents", len(ids), place | of))
        ranked, entities = _cross(2 * N_RANKED, N_ENTITIES)
        active = {"sae": _sae(layer), "feature_id": ranked, "entity_id": _named("entity", entities)}
        latents.append(("entity_activations", len(ranked), place | active))
    types, numbers = _cross(len(TYPES), 5)
    names = _of(("n_tokens", "n_characters", "popularity", "confidence", "probe"), numbers)
    layers = np.where(names == "probe", TARGETS[-1], None)
    latents.append(
        ("entity_baselines", len(types), place | {"entity_type": _of(TYPES, types), "baseline": names, "layer": layers})
    )
    types, numbers = _cross(len(TYPES), 3)
    scores = {"entity_type": _of(TYPES, types), "score": _of(("latent", "probe", "confidence"), numbers)}
    latents.append(("entity_classifiers", len(types), place | scores | {"sae": _sae(TARGETS[-1])}))
    ids, sources, methods = _cross(2 * N_RANKED, len(SOURCES), len(METHODS))
    target = TARGETS[-1]
    way = {"source_layer": _of(SOURCES, sources), "leap": target - np.array(SOURCES)[sources], "target_layer": target}
    way |= {"method": _of(METHODS, methods), "sae": _sae(target), "feature_id": ids}
    of = [f"{METHODS[m]}-L{SOURCES[s]:02d}-k{target - SOURCES[s]:02d}" for s, m in zip(sources, methods)]
    way["operator"] = np.array(of, dtype=object)
    latents.append(("entity_transport", len(ids), place | way))
    yield "entity_latents", "latents", ("knownness",), latents
    edits = ("none", "steer", "ablate", "orthogonalise")
    who, which, draws = _cross(N_ENTITIES // 5, len(edits), 3)
    done = {
        "entity_id": _named("entity", who),
        "intervention": _of(edits, which),
        "draw": np.where(which == 0, 0, draws),
    }
    done |= {"direction": np.where(which == 0, "", _of(("known", "unknown", "random_latent_for_known"), draws))}
    done |= {
        "position": np.where((which == 0) | (which == 3), "", "entity_last"),
        "attribute": _named("attribute", draws),
    }
    done |= {
        "sae": _sae(target),
        "layer": target,
        "label": _of(("known", "unknown"), who % 2),
        "grade": _of(VERDICTS, who % 3),
    }
    said, which, directions, outcomes = _cross(2, 3, 2, 4)
    effects = {"label": _of(("known", "unknown"), said), "intervention": _of(edits[1:], which), "n_draws": 20}
    effects |= {"direction": _of(("known", "unknown"), directions), "position": np.where(which == 2, "", "entity_last")}
    effects["outcome"] = _of(("correct", "wrong", "abstain", "self_report"), outcomes)
    yield (
        "entity_interventions",
        "interventions",
        ("latents",),
        [
            ("entity_interventions", len(who), {"intervening": "interventions"} | done),
            ("entity_intervention_effects", len(said), {"intervening": "interventions"} | effects),
        ],
    )


def _graphs(rng: np.random.Generator) -> Any:
    nodes = np.arange(N_NODES)
    kind = np.where(nodes < N_NODES - 3 * N_TOKENS, "feature", np.where(nodes < N_NODES - N_TOKENS, "error", "token"))
    kind[-3:] = "logit"
    feature = kind == "feature"
    layer = np.where(kind == "logit", 26, np.where(kind == "token", -1, np.array(TARGETS)[nodes % 2]))
    own = {"node": nodes, "node_id": _named("node", nodes), "kind": kind, "layer": layer, "position": nodes % N_TOKENS}
    own |= {"sae": np.where(feature, _of([_sae(target) for target in TARGETS], nodes % 2), None)}
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
    found |= {"source_sae": _sae(TARGETS[0]), "target_sae": _sae(TARGETS[1]), "n_prompts": N_PROMPTS}
    yield "graph_motifs", "motifs", (), [("graph_motifs", len(numbers), found)]


def _sae_study(n: int) -> Any:
    saes = [f"studied-{i}" for i in range(N_STUDIED)]
    for i, sae in enumerate(saes):
        architecture = ("topk", "batchtopk")[i % 2]
        own = {
            "sae": sae,
            "label": f"{architecture} k=32 seed {i // 2}",
            "architecture": architecture,
            "source": "trained",
        }
        own |= {
            "layer": TARGETS[0],
            "site": "resid_post",
            "target_site": None,
            "has_skip": False,
            "d_sae": n,
            "k": 32,
            "seed": i // 2,
        }
        yield "sae_study_weights", f"weights-{sae}", (), [("studied_saes", 1, own)]
        names = np.array(METRICS, dtype=object)
        strata, readers, widths = _cross(8, 3, 3)
        probed = {"sae": sae, "stratum": "topic", "value": _named("topic", strata), "k": _of((1, 5, 25), widths)}
        probed["reader"] = _of(("best", "random", "dense"), readers)
        yield (
            "sae_study_quality",
            f"quality-{sae}",
            (),
            [
                ("sae_quality", len(names), {"sae": sae, "metric": names, "detail": ""}),
                ("sae_density", N_BINS, {"sae": sae} | _bins(np.arange(N_BINS))),
                ("studied_features", n, {"sae": sae, "feature_id": np.arange(n)}),
                ("sae_probing", len(strata), probed),
            ],
        )
        if i < 2:
            yield "sae_study_looks", f"looks-{sae}", (), _looks(sae, n)
    others = {"study": "study", "sae": saes[0], "other_sae": np.array(saes[1:], dtype=object), "layer": TARGETS[0]}
    looked_at = np.arange(N_STUDIED) < 2
    yield (
        "sae_studies",
        "study",
        (),
        [
            ("sae_studies", N_STUDIED, {"study": "study", "sae": np.array(saes, dtype=object), "looked_at": looked_at}),
            ("sae_agreement", N_STUDIED - 1, others),
            (
                "feature_families",
                n,
                {"study": "study", "sae": saes[0], "source_sae": saes[1], "feature_id": np.arange(n)},
            ),
        ],
    )


def _looks(sae: str, n: int) -> Rows:
    steps, bins = _cross(N_SNAPSHOTS, N_BINS)
    own = {"sae": sae, "feature_id": np.arange(n)}
    seen = {f"{what}_step": np.arange(n) % N_SNAPSHOTS for what in ("emerged", "born")} | {"died_step": None}
    clusters = {"method": "kmeans", "cluster": np.arange(n) % 40, "cluster_size": n // 40 + 1}
    return [
        (
            "sae_snapshots",
            N_SNAPSHOTS,
            {"sae": sae, "step": np.arange(N_SNAPSHOTS), "tokens": np.arange(N_SNAPSHOTS) * 1_000},
        ),
        ("sae_snapshot_density", len(steps), {"sae": sae, "step": steps} | _bins(bins)),
        ("feature_emergence", n, own | seen),
        ("feature_clusters", n, own | clusters),
        ("feature_map", n, own | {"method": "umap"}),
        ("feature_attribution", n, own),
    ]


def _bins(number: np.ndarray) -> dict[str, Any]:
    return {"bin": number, "log10_rate_low": -6 + number / 10, "log10_rate_high": -5.9 + number / 10}


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
                    "sae": _sae(target),
                }
                of |= {"source_layer": source, "leap": target - source, "target_layer": target}
                of |= {
                    "position_policy": "same",
                    "method": "ridge",
                    "operator": f"ridge-L{source:02d}-k{target - source:02d}",
                }
                said = {"verdict": _of(VERDICTS, np.arange(n) % 3), "other_verdict": _of(VERDICTS, np.arange(n) % 3)}
                rows += [
                    ("comparisons", 1, of | {"n_features": n, "other_operator": "ridge"}),
                    (
                        "feature_comparisons",
                        n,
                        {k: v for k, v in of.items() if k != "operator"} | {"feature_id": np.arange(n)} | said,
                    ),
                ]
            yield "compare", key, (), rows
