"""The stages of a generated study about entities."""

from typing import Any

import numpy as np

from ato.operators.methods import DEFAULT_METHODS as METHODS
from benchmarks.generated.drawn_rows import Rows, every, names_of, numbered_names, sae_of
from benchmarks.generated.pairs import SOURCES, TARGETS

TYPES = ("all", "city", "movie", "person")
GRADES = ("correct", "wrong", "abstain")
N_ENTITIES, N_RANKED = 1_000, 10


def entity_stages(n: int) -> Any:
    """Entities, answers, latents and interventions, for SAEs of ``n`` features."""
    number = np.arange(N_ENTITIES)
    entity, invented = {"entity_id": numbered_names("entity", number)}, number % 5 == 4
    kinds, splits = names_of(TYPES[1:], number % 3), names_of(("train", "validation", "test"), number % 3)
    label = np.where(invented, "invented", names_of(("known", "unknown"), number % 2))
    facts, attributes = every(N_ENTITIES, 3)
    asked = {"entity_id": numbered_names("entity", facts), "attribute": numbered_names("attribute", attributes)}
    graded = {"grade": names_of(("correct", "wrong", "abstain"), facts % 3), "family": "continuation", "sample": 0}
    own = {"entity_type": kinds, "split": splits, "invented": invented, "name": numbered_names("Name", number)}
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
        types, ids = every(len(TYPES), n)
        of = {"sae": sae_of(layer), "layer": layer, "entity_type": names_of(TYPES, types), "feature_id": ids}
        of |= {"direction": names_of(("known", "unknown"), ids % 2), "passes_filter": True}
        of["rank"] = np.where((ids < 2 * N_RANKED) & (layer == TARGETS[-1]), ids // 2 + 1, None)
        latents.append(("entity_latents", len(ids), place | of))
        ranked, entities = every(2 * N_RANKED, N_ENTITIES)
        active = {"sae": sae_of(layer), "feature_id": ranked, "entity_id": numbered_names("entity", entities)}
        latents.append(("entity_activations", len(ranked), place | active))
    types, numbers = every(len(TYPES), 5)
    names = names_of(("n_tokens", "n_characters", "popularity", "confidence", "probe"), numbers)
    layers = np.where(names == "probe", TARGETS[-1], None)
    latents.append(
        (
            "entity_baselines",
            len(types),
            place | {"entity_type": names_of(TYPES, types), "baseline": names, "layer": layers},
        )
    )
    types, numbers = every(len(TYPES), 3)
    scores = {"entity_type": names_of(TYPES, types), "score": names_of(("latent", "probe", "confidence"), numbers)}
    latents.append(("entity_classifiers", len(types), place | scores | {"sae": sae_of(TARGETS[-1])}))
    ids, sources, methods = every(2 * N_RANKED, len(SOURCES), len(METHODS))
    target = TARGETS[-1]
    way = {
        "source_layer": names_of(SOURCES, sources),
        "leap": target - np.array(SOURCES)[sources],
        "target_layer": target,
    }
    way |= {"method": names_of(METHODS, methods), "sae": sae_of(target), "feature_id": ids}
    of = [f"{METHODS[m]}-L{SOURCES[s]:02d}-k{target - SOURCES[s]:02d}" for s, m in zip(sources, methods)]
    way["operator"] = np.array(of, dtype=object)
    latents.append(("entity_transport", len(ids), place | way))
    yield "entity_latents", "latents", ("knownness",), latents
    edits = ("none", "steer", "ablate", "orthogonalise")
    who, which, draws = every(N_ENTITIES // 5, len(edits), 3)
    done = {
        "entity_id": numbered_names("entity", who),
        "intervention": names_of(edits, which),
        "draw": np.where(which == 0, 0, draws),
    }
    done |= {"direction": np.where(which == 0, "", names_of(("known", "unknown", "random_latent_for_known"), draws))}
    done |= {
        "position": np.where((which == 0) | (which == 3), "", "entity_last"),
        "attribute": numbered_names("attribute", draws),
    }
    done |= {
        "sae": sae_of(target),
        "layer": target,
        "feature_id": draws,  # one each way: the best of its ranking
        "label": names_of(("known", "unknown"), who % 2),
        "grade": names_of(GRADES, who % 3),
    }
    said, which, directions, outcomes = every(2, 3, 2, 4)
    effects = {"label": names_of(("known", "unknown"), said), "intervention": names_of(edits[1:], which), "n_draws": 20}
    effects |= {
        "direction": names_of(("known", "unknown"), directions),
        "position": np.where(which == 2, "", "entity_last"),
    }
    effects["outcome"] = names_of(("correct", "wrong", "abstain", "self_report"), outcomes)
    yield (
        "entity_interventions",
        "interventions",
        ("latents",),
        [
            ("entity_interventions", len(who), {"intervening": "interventions"} | done),
            ("entity_intervention_effects", len(said), {"intervening": "interventions"} | effects),
        ],
    )
