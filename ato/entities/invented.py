"""Invented entities: names made of parts of real names, each matched to a real one in tokens and characters."""

import hashlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ato.entities.catalog import Entity
from ato.errors import SettingsError
from ato.numerics.counter_rng import uniforms

_CANDIDATES = 96
"""Recombinations tried for each real name."""
_VOWELS = frozenset("aeiouyAEIOUYàáâãäåæèéêëìíîïòóôõöøùúûüýāēīōūăěőű")


def invent(
    entities: Iterable[Entity], tokens: Callable[[str], int], n: int, seed: int, avoid: Iterable[str] = ()
) -> list[Entity]:
    """At most n invented entities of each type, none with the name of a given one.

    A name of several words takes each word from the same place of another name with as many words; a name of one word takes
    a beginning and an ending at the border of syllables. Each invented name has exactly as many tokens as the real one it
    is matched to, which its ``source`` names, and of the recombinations tried the nearest number of characters. A
    real entity is matched once. Where no recombination fits, another real one is taken; there may be fewer than n.

    Args:
        entities: the real ones, without duplicates; those invented are passed over.
        tokens: tokens of a name as the prompts hold it.
        n: how many of each type.
        seed: of the draw.
        avoid: further names that are real, such as those of the set that the entities were drawn from.

    Raises:
        SettingsError: n is negative.
    """
    if n < 0:
        raise SettingsError(f"{n} entities cannot be invented", cure="invent 0 or more")
    real = sorted((entity for entity in entities if not entity.invented), key=lambda entity: _key(entity, seed))
    taken = {name.casefold() for name in (*(entity.name for entity in real), *avoid)}
    made: list[Entity] = []
    for entity_type in sorted({entity.entity_type for entity in real}):
        of_type = [entity for entity in real if entity.entity_type == entity_type]
        parts = _Parts([entity.name for entity in of_type])
        count = 0
        for entity in of_type:
            if count == n:
                break
            name = _nearest(entity.name, parts.recombined(entity.name, _key(entity, seed)), tokens, taken)
            if name is not None:
                taken.add(name.casefold())
                made.append(Entity(entity_type, name, (), f"invented to match {entity.entity_id}", invented=True))
                count += 1
    return made


class _Parts:
    """Names by their number of words, and beginnings and endings of one-word names."""

    def __init__(self, names: Sequence[str]):
        self.by_length: dict[int, list[list[str]]] = {}
        for name in sorted(names):
            self.by_length.setdefault(len(name.split()), []).append(name.split())
        self.halves = [half for words in self.by_length.get(1, ()) if (half := _halves(words[0]))]

    def recombined(self, name: str, key: int) -> list[str]:
        """Candidates for the name, drawn by its key."""
        length = len(name.split())
        pool = self.halves if length == 1 else self.by_length[length]
        if not pool:
            return []
        places = max(2, length)
        draws = uniforms(key, np.arange(_CANDIDATES)[:, None], np.arange(places)[None, :])
        chosen = (draws * len(pool)).astype(np.int64)
        glue = "" if length == 1 else " "
        return [glue.join(pool[row][place] for place, row in enumerate(rows)) for rows in chosen]


def _nearest(name: str, candidates: Iterable[str], tokens: Callable[[str], int], taken: set[str]) -> str | None:
    new = [candidate for candidate in dict.fromkeys(candidates) if candidate.casefold() not in taken]
    wanted = tokens(name) if new else 0
    for candidate in sorted(new, key=lambda candidate: abs(len(candidate) - len(name))):
        if tokens(candidate) == wanted:
            return candidate
    return None


def _halves(word: str) -> tuple[str, str] | None:
    """The word cut in front of the consonant nearest its middle that follows a vowel; None for words that have none."""
    cuts = [
        i for i in range(2, len(word) - 1) if word[i - 1] in _VOWELS and word[i] not in _VOWELS and word[i].isalpha()
    ]
    if not cuts:
        return None
    cut = min(cuts, key=lambda i: (abs(2 * i - len(word)), i))
    return word[:cut], word[cut:]


def _key(entity: Entity, seed: int) -> int:
    digest = hashlib.sha256(f"invent\n{seed}\n{entity.entity_id}".encode()).digest()
    return int.from_bytes(digest[:7])
