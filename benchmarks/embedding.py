"""Embedding of short texts for the search by meaning: against the same encoder, batches as they come and a text at a time.

Texts are as long as descriptions, promoted tokens and examples of features are. All three ways must give the same vectors.
"""

import sys
from collections.abc import Iterator

import numpy as np

from ato.autointerp.sentence_encoder import SentenceEncoder
from ato.autointerp.word_forms import FUNCTION_WORDS
from benchmarks.measurement import Measurement, plain, speedup
from benchmarks.program import run
from benchmarks.timing import side_by_side

LENGTHS = (3, 8, 40)
"""Words of a text: promoted tokens, a description, an example."""
BATCH = 64
LARGEST_DIFFERENCE = 1e-4
"""Of a component of a vector of length 1."""


def measure(quick: bool) -> Iterator[Measurement]:
    """Texts a second."""
    encoder = SentenceEncoder()
    texts = some_texts(32 if quick else 1024)

    def as_they_come() -> np.ndarray:
        return np.concatenate([encoder.encode(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)])

    def one_by_one() -> np.ndarray:
        return np.concatenate([encoder.encode([text]) for text in texts])

    expected = encoder.encode(texts)
    for way in (as_they_come, one_by_one):
        apart = float(np.abs(way() - expected).max())
        assert apart < LARGEST_DIFFERENCE, f"a vector differs by {apart:.1e} from that of {way.__name__}"
    ours, batches, alone = side_by_side(
        lambda: encoder.encode(texts), as_they_come, one_by_one, rounds=1 if quick else 3
    )
    what = f"{len(texts):,} texts of {', '.join(map(str, LENGTHS))} words embedded, those of like length together"
    yield speedup(what, ours, "batches as they come", batches)
    yield speedup(what, ours, "a text at a time", alone)
    yield plain("texts embedded", "1/s", len(texts) / ours)


def some_texts(n: int) -> list[str]:
    """Texts of random words, in turn of each length."""
    rng, words = np.random.default_rng(0), sorted(FUNCTION_WORDS)
    return [" ".join(rng.choice(words, LENGTHS[i % len(LENGTHS)])) for i in range(n)]


if __name__ == "__main__":
    sys.exit(run("embedding", measure, __doc__))
