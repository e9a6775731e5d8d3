"""A small study of entities with planted answers: two types, two contrasts, one good feature each way in each."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import product
from typing import Any

from tests.warehouse.small_warehouse import COLLECTION, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

Rows = list[dict[str, Any]]

ATTRIBUTES = {"city": ("country", "population"), "movie": ("year",)}
"""Type -> what is asked about it."""
N_REAL, N_INVENTED = 27, 3
"""Entities of each type."""
LABELS = ("known", "unknown", "between")
SPLITS = ("train", "test", "validation")
N_SAMPLES = 3
PLACES = {"known_unknown": ("name", "entity_last"), "correct_wrong": ("country", "question_end")}
"""Contrast -> template and position."""
CLASSES = {"known_unknown": ("known", "unknown"), "correct_wrong": ("correct", "wrong")}
N_RANKED = 3
"""Ranked features of each direction."""
BASELINES = {"n_tokens": 0.72, "n_characters": 0.58, "popularity": 0.66, "token_frequency": 0.55, "confidence": 0.7}
PROBE = 0.9
"""AUROC of the probe on the last layer; 0.1 less on each one below that has an SAE."""
BEST_AUROC = 0.96
"""AUROC of the best feature; 0.1 less for each place below it."""
REACHED = {"near": 0.8, "far": 0.1}
"""r2 at entities of the operator from the layer below, and from all further ones; the identity has 0.4 less."""
CHANGES = {
    ("steer", "known"): {"correct": 0.02, "wrong": 0.3, "abstain": -0.4, "self_report": 1.5},
    ("steer", "unknown"): {"correct": -0.5, "wrong": 0.1, "abstain": 0.4, "self_report": -2.0},
    ("ablate", "known"): {"correct": -0.01, "wrong": 0.0, "abstain": 0.01, "self_report": -0.1},
}
"""Intervention and direction -> outcome -> mean change, on known and on unknown entities alike; intervals are +- 0.05."""
EDITED = {"known": 0, "unknown": 1}
"""Direction -> the latent of the last layer's SAE that is edited: the best one."""
CONTROL_SD = 0.04


def entity_id(entity_type: str, i: int) -> str:
    """Id of the i-th entity of a type; from ``N_REAL`` on they are invented."""
    return f"{entity_type}-{i:02d}"


def label_of(i: int) -> str:
    """Label of the i-th entity of its type: the three take turns."""
    return "invented" if i >= N_REAL else LABELS[i % len(LABELS)]


def split_of(i: int) -> str:
    """Split of the i-th entity of its type: each has three entities of each label."""
    return SPLITS[i // len(LABELS) % len(SPLITS)]


def separation(layer: int, feature_id: int, layers: Iterable[int]) -> float:
    """The planted separation: known for even features, unknown for odd ones; falls with the id and below the last layer."""
    return (-1) ** feature_id * 0.9**feature_id * 0.9 * layer / max(layers)


def interval(name: str, value: float, half: float = 0.05) -> dict[str, float]:
    """A score with its interval as columns."""
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def entity_rows(
    saes: Mapping[int, str], n_features: int, pairs: Iterable[tuple[int, int]], run: int = 1
) -> dict[str, dict[str, Rows]]:
    """Key of a stage run -> table -> rows.

    Args:
        saes: layer -> key of its SAE.
        n_features: of each SAE.
        pairs: source and target layers that have operators ``ridge-<source>-<target>``.
        run: number in all keys; a later run has the same rows.
    """
    keys = {
        name: f"{name}-{run}"
        for name in ("entity_set", "answering", "labelling", "reading", "latent_scoring", "intervening")
    }
    latents = _latents(saes, n_features, keys["latent_scoring"])
    return {
        keys["entity_set"]: _entities(keys["entity_set"]),
        f"{keys['answering']}-part": {"entity_answers": _answers(keys["answering"])},
        keys["labelling"]: {"entity_labels": _labels(keys["labelling"], keys["answering"])},
        keys["reading"]: _reading(saes, keys["reading"]),
        keys["latent_scoring"]: {
            "entity_latents": latents,
            "entity_baselines": _baselines(saes, keys["latent_scoring"]),
            "entity_activations": _activations(latents),
            "entity_classifiers": _classifiers(latents),
            "entity_transport": _transport(latents, list(pairs)),
        },
        keys["intervening"]: _interventions(saes, keys["intervening"]),
    }


def write_entities(
    warehouse: Warehouse, saes: Mapping[int, str], n_features: int, pairs: Iterable[tuple[int, int]], run: int = 1
) -> None:
    """Write and commit ``entity_rows``, an hour after the run before it."""
    inputs = {
        f"answering-{run}-part": [f"entity_set-{run}", f"answering-{run}"],
        f"labelling-{run}": [f"answering-{run}"],
        f"latent_scoring-{run}": [f"labelling-{run}", f"reading-{run}"],
        f"intervening-{run}": [f"latent_scoring-{run}"],
    }
    for key, tables in entity_rows(saes, n_features, pairs, run).items():
        commit(
            warehouse,
            "entities",
            key,
            collection=COLLECTION,
            settings={},
            files=write(warehouse, tables, key),
            started_at=STARTED + timedelta(hours=run),
            seconds=2.0,
            inputs=inputs.get(key, []),
        )


def _all_entities() -> Iterable[tuple[str, int]]:
    return product(ATTRIBUTES, range(N_REAL + N_INVENTED))


def _entities(entity_set: str) -> dict[str, Rows]:
    entities, facts = [], []
    for kind, i in _all_entities():
        own = {"entity_set": entity_set, "entity_id": entity_id(kind, i)}
        name = f"{kind.title()} <{i}>"
        entities.append(
            row(
                "entities",
                **own,
                entity_type=kind,
                name=name,
                source="planted",
                invented=i >= N_REAL,
                split=split_of(i),
                popularity=1000.0 * (N_REAL - i) if i < N_REAL else None,
                n_tokens=1 + i % 4,
                n_characters=len(name),
                token_frequency=2.0 + 0.1 * i,
            )
        )
        if i < N_REAL:
            facts += [
                row("entity_attributes", **own, attribute=a, value=f"{a} {i}", aliases=[f"the {a} {i}"])
                for a in ATTRIBUTES[kind]
            ]
    return {"entities": entities, "entity_attributes": facts}


def _grade(i: int, sample: int) -> str:
    """Known: always right; between: the greedy answer; else wrong, and no answer the last time."""
    label = label_of(i)
    if label == "known" or (label == "between" and sample == 0):
        return "correct"
    return "abstain" if sample == N_SAMPLES - 1 else "wrong"


def _answers(answering: str) -> Rows:
    return [
        row(
            "entity_answers",
            answering=answering,
            entity_id=entity_id(kind, i),
            attribute=attribute,
            family="continuation",
            sample=sample,
            template=attribute,
            completion=f" {attribute} {i if _grade(i, sample) == 'correct' else '?'}",
            grade=_grade(i, sample),
            grader="name 1",
            log_probability=-1.0 - 0.1 * (i % 5),
            n_tokens=3,
            p_correct=0.5 if sample == 0 and i < N_REAL else None,
        )
        for kind, i in _all_entities()
        for attribute in ATTRIBUTES[kind]
        for sample in range(N_SAMPLES)
    ]


def _labels(labelling: str, answering: str) -> Rows:
    found = []
    for kind, i in _all_entities():
        grades = [_grade(i, sample) for sample in range(N_SAMPLES)]
        asked = len(ATTRIBUTES[kind])
        found.append(
            row(
                "entity_labels",
                labelling=labelling,
                answering=answering,
                entity_id=entity_id(kind, i),
                label=label_of(i),
                n_asked=asked,
                n_right=asked if label_of(i) == "known" else 0,
                share_correct=grades.count("correct") / N_SAMPLES,
                share_abstain=grades.count("abstain") / N_SAMPLES,
                confidence=-0.4 - 0.01 * i,
                rule="known: each attribute right",
            )
        )
    return found


def _reading(saes: Mapping[int, str], reading: str) -> dict[str, Rows]:
    places, residuals = [], []
    for (kind, i), (template, position) in product(_all_entities(), PLACES.values()):
        own = {"reading": reading, "entity_id": entity_id(kind, i), "template": template, "position": position}
        dropped = i == N_REAL + N_INVENTED - 1
        read = {"drop_reason": "truncated"} if dropped else {"token_start": 1, "token_end": 3, "token": 2}
        places.append(row("entity_positions", **own, token_ids=[0, 5, 6], **read))
        if not dropped:
            residuals += [row("entity_residuals", **own, layer=layer, residual=[float(i)] * 6) for layer in saes]
    return {"entity_positions": places, "entity_residuals": residuals}


def _latents(saes: Mapping[int, str], n_features: int, scoring: str) -> Rows:
    found = []
    for (contrast, (template, position)), kind in product(PLACES.items(), (*ATTRIBUTES, "all")):
        n = 6 if kind == "all" else 3
        scores = {(layer, f): separation(layer, f, saes) for layer in saes for f in range(n_features)}
        for sign, direction in zip((1, -1), CLASSES[contrast]):
            ordered = sorted((f for f in scores if sign * scores[f] > 0), key=lambda f: -abs(scores[f]))
            for place, (layer, f) in enumerate(ordered, 1):
                value, ranked = scores[layer, f], place <= N_RANKED
                found.append(
                    row(
                        "entity_latents",
                        latent_scoring=scoring,
                        contrast=contrast,
                        template=template,
                        position=position,
                        sae=saes[layer],
                        layer=layer,
                        entity_type=kind,
                        feature_id=f,
                        n_positive_train=n,
                        n_negative_train=n,
                        f_positive_train=max(value, 0.0),
                        f_negative_train=max(-value, 0.0),
                        separation=value,
                        relative=value / (max(-value, 0.0) + 1e-6),
                        mean_difference=3 * value,
                        welch_t=5 * value,
                        direction=direction,
                        general_rate=0.01,
                        passes_filter=True,
                        p_max=0.01 * place,
                        q=min(0.02 * place, 1.0),
                        rank=place if ranked else None,
                        n_positive=n,
                        n_negative=n,
                        f_positive=0.9 * max(value, 0.0),
                        f_negative=0.9 * max(-value, 0.0),
                        **(interval("test_separation", 0.9 * value) if ranked else {"test_separation": 0.9 * value}),
                        **(interval("auroc", BEST_AUROC + 0.1 - 0.1 * place, 0.03) if ranked else {}),
                        **(interval("auroc_cross_type", 0.85) if place == 1 and kind != "all" else {}),
                        beats_baselines=place == 1 if ranked else None,
                    )
                )
    return found


def _baselines(saes: Mapping[int, str], scoring: str) -> Rows:
    found = []
    for (contrast, (template, position)), kind in product(PLACES.items(), (*ATTRIBUTES, "all")):
        aurocs: dict[tuple[str, int | None], float] = {(name, None): auroc for name, auroc in BASELINES.items()}
        for below, layer in enumerate(sorted(saes, reverse=True)):
            aurocs["probe", layer] = PROBE - 0.1 * below
        found += [
            row(
                "entity_baselines",
                latent_scoring=scoring,
                contrast=contrast,
                template=template,
                position=position,
                entity_type=kind,
                baseline=name,
                layer=layer,
                direction=CLASSES[contrast][0],
                n_positive=3,
                n_negative=3,
                **interval("auroc", auroc),
                matched=False,
                confounded=name == "n_tokens" and contrast == "known_unknown",
            )
            for (name, layer), auroc in aurocs.items()
        ]
    return found


def _place(latent: Mapping[str, Any]) -> dict[str, Any]:
    return {name: latent[name] for name in ("latent_scoring", "contrast", "template", "position")}


def _ranked(latents: Rows) -> Rows:
    return [f for f in latents if f["rank"] is not None and f["entity_type"] == "all"]


def _activations(latents: Rows) -> Rows:
    return [
        row(
            "entity_activations",
            **_place(f),
            sae=f["sae"],
            feature_id=f["feature_id"],
            entity_id=entity_id(kind, i),
            activation=4.0 / f["rank"] + 0.1 * i,
        )
        for f in _ranked(latents)
        for kind, i in _all_entities()
        if (f["separation"] > 0) == (label_of(i) == "known")
    ]


def _classifiers(latents: Rows) -> Rows:
    found = []
    for f in _ranked(latents):
        if f["direction"] != CLASSES[f["contrast"]][0] or f["rank"] != 1:
            continue
        chosen = {"latent": {"sae": f["sae"], "feature_id": f["feature_id"], "layer": f["layer"]}}
        chosen |= {"probe": {"layer": f["layer"]}, "confidence": {}}
        found += [
            row(
                "entity_classifiers",
                **{"sae": None} | _place(f) | own,
                entity_type=kind,
                score=score,
                threshold=1.5,
                n_positive=6,
                n_negative=6,
                **interval("auroc", 0.9 - 0.1 * place),
                precision=0.8,
                recall=0.7,
                f1=0.75,
                brier=0.15,
                calibration_error=0.05,
            )
            for kind in (*ATTRIBUTES, "all")
            for place, (score, own) in enumerate(chosen.items())
        ]
    return found


def _transport(latents: Rows, pairs: list[tuple[int, int]]) -> Rows:
    return [
        row(
            "entity_transport",
            **_place(f),
            sae=f["sae"],
            feature_id=f["feature_id"],
            source_layer=source,
            leap=target - source,
            target_layer=target,
            operator=f"ridge-{source}-{target}",
            n_entities=12,
            **interval("r2", REACHED["near" if target - source == 1 else "far"]),
            **interval("r2_identity", REACHED["near" if target - source == 1 else "far"] - 0.4),
        )
        for f in _ranked(latents)
        for source, target in pairs
        if target == f["layer"]
    ]


def _interventions(saes: Mapping[int, str], intervening: str) -> dict[str, Rows]:
    answers, effects = [], []
    edits = {("none", ""): {}, ("steer", "random_latent_for_known"): {}} | CHANGES
    for kind, i in _all_entities():
        if split_of(i) != "test" or label_of(i) not in ("known", "unknown"):
            continue
        answers += [
            row(
                "entity_interventions",
                intervening=intervening,
                entity_id=entity_id(kind, i),
                label=label_of(i),
                intervention=intervention,
                direction=direction,
                layer=None if intervention == "none" else max(saes),
                sae=saes[max(saes)] if direction in EDITED else None,
                feature_id=EDITED.get(direction),
                strength=2.0 if intervention == "steer" else None,
                position="" if intervention == "none" else "entity_last",
                attribute=ATTRIBUTES[kind][0],
                completion=" an answer",
                grade="correct" if label_of(i) == "known" else "wrong",
                self_report=1.0,
            )
            for intervention, direction in edits
        ]
    for label, ((intervention, direction), changes) in product(("known", "unknown"), CHANGES.items()):
        effects += [
            row(
                "entity_intervention_effects",
                intervening=intervening,
                label=label,
                intervention=intervention,
                direction=direction,
                position="entity_last",
                strength=2.0 if intervention == "steer" else None,
                outcome=outcome,
                n_entities=6,
                unedited=0.5,
                **interval("change", change),
                n_draws=20,
                control_mean=0.01,
                control_sd=CONTROL_SD,
                p_control=1 / 21 if abs(change) > 0.1 else 0.5,
            )
            for outcome, change in changes.items()
        ]
    return {"entity_interventions": answers, "entity_intervention_effects": effects}
