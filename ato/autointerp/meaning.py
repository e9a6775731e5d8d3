"""Search by meaning: what the best match of a query is worth beside what unrelated queries find among as many texts.

The best of many similarities is high whatever is asked. The null is measured: everyday phrases of many fields are
searched for in the same texts, and a match counts for as much as few of their best matches reach it. Some of them do
find what they name, so that the null is rather too strict.
"""

import numpy as np

from ato.errors import InputError

KINDS = ("description", "tokens", "example")
"""Kinds of texts that say what a feature is about: labels and published explanations, tokens that the logit lens promotes, strong
windows. Of a feature's equal matches the first kind is shown."""
REFERENCE_QUERIES = tuple(
    """tropical fish; kitchen furniture; tax returns; winter coats; broken bones; jazz trumpet; wheat harvest; traffic lights;
wedding dress; solar panels; dental care; medieval castles; chess openings; baby names; airline tickets; garden tools;
volcanic ash; school exams; leather shoes; stock prices; mountain bikes; bread recipes; court verdict; hair colour;
space travel; river pollution; birthday party; football injury; cloud storage; old coins; sewing machine; heart surgery;
desert animals; hotel booking; paint brushes; railway stations; wine tasting; lost luggage; election results; cat food;
glass windows; swimming lessons; steel bridges; love letters; police chase; morning coffee; library books; earthquake damage;
piano lessons; plastic bottles; rice fields; human rights; fishing boats; job interview; sore throat; gold jewellery;
moon landing; parking fine; folk dance; apple trees; night shift; wool blankets; radio signal; ancient pottery;
computer virus; sand dunes; ice hockey; house rent; wild mushrooms; brain waves; comic books; oil refinery;
summer camp; stone walls; vaccine trial; circus tent; honey bees; bank robbery; ski slopes; cotton shirts;
nuclear reactor; street food; marriage vows; lake water; film director; spelling mistakes; horse racing; blood pressure;
paper money; shopping mall; coral reef; prison escape; violin concerto; fire alarm; mother tongue; car engine;
potato soup; peace treaty; square root; bus driver""".replace("\n", " ").split("; ")
)
"""A hundred phrases that have nothing to do with each other."""
_ROWS = 8192


def best_cosines(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """[q] the largest cosine of each query with any of the vectors, some thousand vectors at a time.

    Args:
        vectors: [n, d] of length 1.
        queries: [q, d] of length 1.

    Raises:
        InputError: no vector, or another width.
    """
    if not len(vectors) or vectors.shape[1:] != queries.shape[1:]:
        problem = f"vectors of shape {list(vectors.shape)} and queries of shape {list(queries.shape)}"
        raise InputError(problem, cure="give one vector or more, of the queries' width")
    parts = [vectors[start : start + _ROWS] @ queries.T for start in range(0, len(vectors), _ROWS)]
    best: np.ndarray = np.max([part.max(0) for part in parts], axis=0)
    return best
