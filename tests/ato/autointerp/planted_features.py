"""Features whose meaning is known: windows of made-up documents, and what a feature of a word class, of a topic or of
nothing fires on in them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ato.autointerp.excerpts import FeatureEvidence
from ato.features.excerpts import Excerpt, Origin

_COMMON = "people often said that the house by river was old and near some road with many of its trees still there"
COMMON = _COMMON.split()
TOPICS = {
    "music": ["piano", "violin", "orchestra", "melody", "concert", "singer", "composer", "symphony", "guitar", "choir"],
    "sport": [
        "football",
        "goalkeeper",
        "tournament",
        "stadium",
        "referee",
        "athlete",
        "coach",
        "league",
        "racket",
        "sprint",
    ],
    "space": [
        "planet",
        "telescope",
        "orbit",
        "galaxy",
        "rocket",
        "astronaut",
        "comet",
        "satellite",
        "moon",
        "asteroid",
    ],
}
ANIMALS = ["horse", "camel", "otter", "falcon", "badger"]
SPLITS = ("train", "validation", "test")


def origin(document: int, split: str = "test", stratum: str | None = None, corpus: str = "made-up") -> Origin:
    """Of the first window of a document."""
    return Origin(corpus, document, document, 5, 0, split, stratum)


def excerpt(text: str, active: str = "", document: int = 0, split: str = "test") -> Excerpt:
    """A window of words, each with the space before it, that a feature fires on where they are among the active ones."""
    words = text.split(" ")
    tokens = tuple(words[:1] + [f" {word}" for word in words[1:]])
    return Excerpt(tokens, tuple(float(word in active.split()) for word in words), origin(document, split))


def documents(n: int = 360, length: int = 32, seed: int = 0) -> list[Excerpt]:
    """One silent window a document: common words, three of ten of its topic, and in half the documents an animal or two."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        topic = list(TOPICS)[number % len(TOPICS)]
        words = rng.choice(COMMON, length).astype(object)
        of_topic = rng.random(length) < 0.3
        words[of_topic] = rng.choice(TOPICS[topic], of_topic.sum())
        if rng.random() < 0.5:
            words[rng.choice(length, 2, replace=False)] = rng.choice(ANIMALS, 2)
        split = SPLITS[number // len(TOPICS) % 3]
        tokens = tuple(f" {word}" for word in words)
        found.append(Excerpt(tokens, (0.0,) * length, origin(number, split, topic)))
    return found


def evidence(
    feature: int, fires: Callable[[Excerpt, np.ndarray], np.ndarray], windows: list[Excerpt], n_examples: int = 30
) -> FeatureEvidence:
    """Evidence of a feature.

    Args:
        feature: its number.
        fires: takes a window and its words, and says where the feature fires, [length] bool.
        windows: silent ones; the feature's activations are put in.
        n_examples: active windows of train documents that are shown.
    """
    active, silent = [], []
    for window in windows:
        held = fires(window, np.array([token.strip() for token in window.tokens]))
        one = replace(window, activations=tuple(held.astype(float)))
        (active if held.any() else silent).append(one)
    unseen = [window for window in silent if window.origin.split != "train"]
    strata = {window.origin.stratum for window in active}
    return FeatureEvidence(
        feature,
        tuple(window for window in active if window.origin.split == "train")[:n_examples],
        tuple(window for window in active if window.origin.split != "train"),
        {
            "random": tuple(unseen),
            "same_stratum": tuple(window for window in unseen if window.origin.stratum in strata),
        },
    )


def of_animals(window: Excerpt, words: np.ndarray) -> np.ndarray:
    """A token class."""
    return np.isin(words, ANIMALS)


def of_music(window: Excerpt, words: np.ndarray) -> np.ndarray:
    """A topic: all tokens of its documents."""
    return np.full(len(words), window.origin.stratum == "music")


def of_music_words(window: Excerpt, words: np.ndarray) -> np.ndarray:
    """The words of a topic, which also are silent in no document."""
    return np.isin(words, TOPICS["music"])


def of_nothing(window: Excerpt, words: np.ndarray) -> np.ndarray:
    """A few random tokens of half the documents."""
    rng = np.random.default_rng([7, window.origin.document])
    return (rng.random(len(words)) < 0.1) & (rng.random() < 0.5)
