"""Neuronpedia's JSON objects as frozen rows: explanations and published top tokens, duplicates removed."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ato.errors import InputError

LARGEST_SCORE = 1e300
"""Larger ones, infinities and NaN are no scores."""
LARGEST_INDEX = 2**31 - 1


@dataclass(frozen=True)
class SourceId:
    """Address of a set of features: the model's id and the source ``{layer}-{set}[__{suffix}]``."""

    model: str
    source: str

    @classmethod
    def parse(cls, text: str) -> "SourceId":
        """Read ``model/source``.

        Raises:
            InputError: the text is not of that form.
        """
        model, slash, source = text.partition("/")
        if not (model and slash and source) or "/" in source or text != "".join(text.split()):
            raise InputError(
                f"{text!r} is not a Neuronpedia id", cure="use model/source, such as gemma-2-2b/6-gemmascope-res-16k"
            )
        return cls(model, source)

    def __str__(self) -> str:
        return f"{self.model}/{self.source}"


@dataclass(frozen=True)
class Explanation:
    """One explanation of one feature."""

    feature_id: int
    explanation_id: str
    """As published; where an answer leaves it out, a digest of what identifies the explanation."""
    description: str
    type_name: str | None = None
    explainer: str | None = None
    """Model that wrote it."""
    score: float | None = None
    """Best published score."""
    score_type: str | None = None
    created_at: str = ""


@dataclass(frozen=True)
class PublishedFeature:
    """What is published about one feature."""

    feature_id: int
    explanations: tuple[Explanation, ...] = ()
    """By type, explainer and id."""
    top_tokens: tuple[str, ...] | None = None
    """``pos_str``, the tokens it promotes most, best first; None where the answer does not say."""


def feature_from(row: Mapping[str, Any], source: SourceId) -> PublishedFeature | None:
    """A feature from an answer of the API or a line of ``features/``; None if it is of another source or nameless."""
    feature_id = _index(row, source)
    if feature_id is None:
        return None
    listed = [item for item in _list(row.get("explanations")) if isinstance(item, dict)]
    found = (explanation_from({"index": feature_id, **item}, source) for item in listed)
    tokens = row.get("pos_str")
    return PublishedFeature(
        feature_id,
        without_duplicates(item for item in found if item is not None),
        tuple(_whole(token) for token in tokens) if isinstance(tokens, list) and tokens else None,
    )


def explanation_from(row: Mapping[str, Any], source: SourceId) -> Explanation | None:
    """An explanation from a line of ``explanations/``; None if it is of another source, or says nothing."""
    feature_id, description = _index(row, source), row.get("description")
    if feature_id is None or not isinstance(description, str) or not description.strip():
        return None
    scores = [
        (float(item["value"]), _text(item.get("explanationScoreTypeName")))
        for item in _list(row.get("scores"))
        if isinstance(item, dict) and _is_score(item.get("value"))
    ]
    score, score_type = max(scores, key=lambda pair: pair[0], default=(None, None))
    description, type_name, explainer = map(_text, (description, row.get("typeName"), row.get("explanationModelName")))
    identity = json.dumps([source.model, source.source, feature_id, type_name, explainer, description])
    return Explanation(
        feature_id,
        _text(row.get("id") or "") or hashlib.sha256(identity.encode()).hexdigest()[:16],
        description or "",
        type_name,
        explainer,
        score,
        score_type,
        _text(row.get("createdAt") or "") or "",
    )


def without_duplicates(explanations: Iterable[Explanation]) -> tuple[Explanation, ...]:
    """One explanation for each feature, type and explainer: the best scored, then the newest; ordered by these.

    The three, with the source, are what the platform itself tells explanations apart by.
    """
    best: dict[tuple[int, str, str], Explanation] = {}
    for item in explanations:
        key = (item.feature_id, item.type_name or "", item.explainer or "")
        if key not in best or _merit(item) > _merit(best[key]):
            best[key] = item
    return tuple(best[key] for key in sorted(best))


def merge(feature: PublishedFeature, explanations: Iterable[Explanation]) -> PublishedFeature:
    """A feature with further explanations of it."""
    return replace(feature, explanations=without_duplicates([*feature.explanations, *explanations]))


def _merit(item: Explanation) -> tuple[float, str, str]:
    return (float("-inf") if item.score is None else item.score, item.created_at, item.explanation_id)


def _text(value: Any) -> str | None:
    return None if value is None else _whole(value).strip()


def _whole(value: Any) -> str:
    """A string without what UTF-8 cannot hold (halves of surrogate pairs, which JSON can)."""
    return str(value).encode("utf-8", "replace").decode()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_SCORE


def _index(row: Mapping[str, Any], source: SourceId) -> int | None:
    """The feature's number, an int or a string in the files; None if missing or of another source."""
    if row.get("modelId", source.model) != source.model or str(row.get("layer", source.source)) != source.source:
        return None
    try:
        index = int(row["index"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return index if 0 <= index <= LARGEST_INDEX else None
