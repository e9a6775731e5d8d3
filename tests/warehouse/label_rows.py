"""A small labelling with planted scores: of five features one is told for certain, one at chance, one has no description."""

from datetime import timedelta
from typing import Any

from ato.autointerp.scores import balanced_accuracy, wilson
from tests.warehouse.small_warehouse import COLLECTION, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

Rows = list[dict[str, Any]]

LAYER = 4
N = 20
"""Trials of a class, and of each tier."""
TIERS = ("near_miss", "random", "same_stratum")
RIGHT = {0: N, 1: N // 2, 3: 18, 4: 15}
"""Feature -> right answers of each class; feature 2 fires in no train document and has no description."""
FEATURES = (0, 1, 2, 3, 4)
UNDESCRIBED = 2
DESCRIPTIONS = {0: "the word union", 1: "anything at all", 3: "years, such as 1862", 4: "names of states"}
JUDGES = ("overlap", "tiny-model")
WORSE = {"overlap": 0, "tiny-model": 4}
"""Judge -> how many fewer right answers of each class."""
INTRUDER_RIGHT, GROUP = 14, 5
N_SHOWN, N_ACTIVE = 3, 20
CLASSES = {
    "overlap": ("language", "domain", "language", "domain"),
    "tiny-model": ("language", "domain", "domain", "domain"),
}
"""Judge -> category of the described features."""
SPACE = "feature-categories"


def labelling_rows(evidence: str, labelling: dict[str, str]) -> dict[str, Rows]:
    """Table -> rows.

    Args:
        evidence: its key.
        labelling: judge -> key of its labelling.
    """
    made: dict[str, Rows] = {
        "labelled_sources": [row("labelled_sources", evidence=evidence, layer=LAYER, source="sae", d_sae=5)],
        "labelled_features": [_feature(evidence, place, f) for place, f in enumerate(FEATURES, start=1)],
        "example_windows": [found for f in FEATURES for found in _windows(evidence, f)],
        "feature_histograms": [
            _row("feature_histograms", evidence, f, bin=3, low=1.0, high=2.0, n=40) for f in FEATURES
        ],
        "feature_strata": [
            _row(
                "feature_strata",
                evidence,
                f,
                stratum="topic",
                value=value,
                n_tokens=500,
                n_active=n,
                density=n / 500,
                share=n / 40,
            )
            for f in FEATURES
            for value, n in (("history", 30), ("music", 10))
        ],
        "feature_neighbours": [
            _row("feature_neighbours", evidence, f, method=method, rank=1, neighbour=(f + 1) % 5, value=0.5)
            for f in FEATURES
            for method in ("coactivation", "decoder")
        ],
    }
    for judge, key in labelling.items():
        for table, rows in _labels(evidence, key, judge).items():
            made[table] = made.get(table, []) + rows
    made["label_agreement"] = [
        row(
            "label_agreement",
            comparison="agreement-1",
            layer=LAYER,
            judge=JUDGES[0],
            other_judge=JUDGES[1],
            labelling=labelling[JUDGES[0]],
            other_labelling=labelling[JUDGES[1]],
            space=SPACE,
            property="category",
            n=4,
            agreement=0.75,
            kappa=0.5,
            kappa_low=-0.1,
            kappa_high=1.0,
        )
    ]
    return made


def write_labelling(warehouse: Warehouse, name: str = "1", hour: int = 2) -> dict[str, str]:
    """Write and commit ``labelling_rows``; returns judge -> key of its labelling."""
    evidence, labelling = f"evidence-{name}", {judge: f"labels-{judge}-{name}" for judge in JUDGES}
    tables = labelling_rows(evidence, labelling)
    of_evidence = {t: tables[t] for t in tables if t in _EVIDENCE_TABLES}
    started = STARTED + timedelta(hours=hour)
    shared: dict[str, Any] = {"collection": COLLECTION, "settings": {}, "started_at": started, "seconds": 2.0}
    commit(warehouse, "label_evidence", evidence, files=write(warehouse, of_evidence, evidence), **shared)
    for judge, key in labelling.items():
        own = {t: [r for r in rows if r.get("judge") == judge] for t, rows in tables.items() if t in _LABEL_TABLES}
        own = {table: rows for table, rows in own.items() if rows}
        commit(warehouse, "label", key, files=write(warehouse, own, key), **shared)
    agreement = {"label_agreement": tables["label_agreement"]}
    commit(warehouse, "label_agreement", "agreement-1", files=write(warehouse, agreement, "agreement-1"), **shared)
    return labelling


_EVIDENCE_TABLES = (
    "labelled_sources",
    "labelled_features",
    "example_windows",
    "feature_histograms",
    "feature_strata",
    "feature_neighbours",
)
_LABEL_TABLES = ("feature_descriptions", "detection_trials", "description_scores", "feature_labels", "llm_calls")


def _row(table: str, evidence: str, feature: int, **values: Any) -> dict[str, Any]:
    return row(table, evidence=evidence, layer=LAYER, feature_id=feature, **values)


def _feature(evidence: str, place: int, feature: int) -> dict[str, Any]:
    return _row(
        "labelled_features",
        evidence,
        feature,
        source="sae",
        place=place,
        ordered_by="causal_effect",
        value=1 / place,
        covered=place / len(FEATURES),
        n_tokens=1000,
        n_active=40,
        max_activation=2.0,
        promoted=[" union", " states"],
        promoted_logits=[2.0, 1.0],
    )


def _windows(evidence: str, feature: int) -> Rows:
    """Windows 0 to 2 are shown, the next ``N_ACTIVE`` are active in test, then as many silent ones of each tier."""
    shown = 0 if feature == UNDESCRIBED else N_SHOWN
    kinds: list[tuple[str, str | None, str, int]] = [("top", None, "train", rank) for rank in range(1, shown + 1)]
    kinds += [("top", None, "test", rank) for rank in range(1, N_ACTIVE + 1)]
    kinds += [("silent", tier, "test", rank) for tier in TIERS for rank in range(1, N + 1)]
    found = []
    for number, (kind, tier, split, rank) in enumerate(kinds):
        active = kind != "silent"
        found.append(
            _row(
                "example_windows",
                evidence,
                feature,
                window_id=number,
                kind=kind,
                tier=tier,
                rank=rank,
                document=number,
                document_id=f"doc{number}",
                sequence_id=number,
                position=1,
                start=0,
                split=split,
                stratum="history" if number % 2 else "music",
                activation=1.5 if active else 0.0,
                tokens=["the", " union", " is"],
                activations=[0.0, 1.5 if active else 0.0, 0.0],
            )
        )
    return found


def _labels(evidence: str, labelling: str, judge: str) -> dict[str, Rows]:
    own = {"labelling": labelling, "judge": judge}
    described = [f for f in FEATURES if f != UNDESCRIBED]
    call = {"call": f"call-{labelling}"} if judge != "overlap" else {}
    tables: dict[str, Rows] = {
        "feature_descriptions": [
            _row(
                "feature_descriptions",
                evidence,
                f,
                **own,
                **call,
                description=DESCRIPTIONS.get(f),
                chosen=f in DESCRIPTIONS,
                origin="judge",
                n_examples=N_SHOWN if f in DESCRIPTIONS else 0,
                reason=None if f in DESCRIPTIONS else "no example: it fires in no train document",
            )
            for f in FEATURES
        ],
        "detection_trials": [found for f in described for found in _trials(evidence, f, own)],
        "description_scores": [found for f in FEATURES for found in _scores(evidence, f, own)],
        "feature_labels": [
            _row("feature_labels", evidence, f, **own, space=SPACE, property="category", value=value)
            for f, value in zip(described, CLASSES[judge], strict=True)
        ],
    }
    if call:
        tables["llm_calls"] = [
            row(
                "llm_calls",
                labelling=labelling,
                judge=judge,
                model=judge,
                call=call["call"],
                purpose="description",
                status="answered",
                mode="json_schema",
                n_attempts=1,
                prompt_tokens=300,
                completion_tokens=12,
                cost=0.01,
                seconds=0.5,
                reply="{}",
            )
        ]
    return tables


def _right(feature: int, judge: str) -> int:
    return max(0, RIGHT[feature] - WORSE[judge])


def _trials(evidence: str, feature: int, own: dict[str, str]) -> Rows:
    """Detection with each description and a shuffled one (always half right), and intruder."""
    first, found = N_SHOWN, []
    classes = [("active", 1), *((tier, 0) for tier in TIERS)]
    for control in ("none", "shuffled"):
        right = _right(feature, own["judge"]) if control == "none" else N // 2
        for place, (tier, expected) in enumerate(classes):
            for i in range(N):
                found.append(
                    _row(
                        "detection_trials",
                        evidence,
                        feature,
                        **own,
                        scorer="detection",
                        control=control,
                        candidate=0,
                        trial=place * N + i,
                        tier=tier,
                        split="test",
                        windows=[first + place * N + i],
                        expected=expected,
                        answered=expected if i < right else 1 - expected,
                    )
                )
    for i in range(N):
        found.append(
            _row(
                "detection_trials",
                evidence,
                feature,
                **own,
                scorer="intruder",
                control="none",
                candidate=-1,
                trial=i,
                tier="random",
                split="test",
                windows=[first, first + 1, first + 2, first + 3, first + 2 * N + i],
                expected=4,
                answered=4 if i < INTRUDER_RIGHT else 0,
            )
        )
    return found


def _scores(evidence: str, feature: int, own: dict[str, str]) -> Rows:
    found = []
    for control in ("none", "shuffled"):
        for tier, n_tiers in (("all", len(TIERS)), *((tier, 1) for tier in TIERS)):
            values: dict[str, Any] = {"tier": tier, "control": control, "measure": "balanced_accuracy", "chance": 0.5}
            if feature == UNDESCRIBED:
                if control == "none":
                    found.append(_score(evidence, feature, own, values | {"reason": "no description"}))
                continue
            right = _right(feature, own["judge"]) if control == "none" else N // 2
            expected = [True] * N + [False] * N * n_tiers
            answers = [i < right for i in range(N)] + [i >= right for _ in range(n_tiers) for i in range(N)]
            b = balanced_accuracy(expected, answers)
            values |= {"n_positive": N, "n_negative": N * n_tiers, "sensitivity": b.sensitivity.value}
            values |= {"specificity": b.specificity.value, "score": b.value.value}
            values |= {"score_low": b.value.low, "score_high": b.value.high}
            found.append(_score(evidence, feature, own, values))
    if feature != UNDESCRIBED:
        accuracy = wilson(INTRUDER_RIGHT, N)
        values = {"scorer": "intruder", "tier": "all", "control": "none", "measure": "accuracy", "chance": 1 / GROUP}
        values |= {"n_positive": N, "score": accuracy.value, "score_low": accuracy.low, "score_high": accuracy.high}
        found.append(_score(evidence, feature, own, values))
    return found


def _score(evidence: str, feature: int, own: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    return _row("description_scores", evidence, feature, **own, **{"scorer": "detection"} | values)
