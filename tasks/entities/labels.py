"""Stage ``entity_labels``: who is known, by the drawn answers."""

from collections import Counter
from typing import Any

from ato.entities.labels import LabelRule, label
from tasks.engine.progress import say
from tasks.entities.stages import EntityStudy
from warehouse.catalog.catalog import rows

GRADED = """select
    e.entity_id,
    e.invented,
    a.attribute,
    count(*) filter (a.sample > 0) as n,
    count(*) filter (a.sample > 0 and a.grade = 'correct') as n_correct,
    count(*) filter (a.sample > 0 and a.grade = 'abstain') as n_abstain,
    sum(a.log_probability) filter (a.sample = 0) as log_probability,
    (sum(a.n_tokens) filter (a.sample = 0))::bigint as n_tokens
from entities as e
left join (from entity_answers where answering = $answering) as a using (collection, entity_id)
where e.entity_set = $entity_set and e.collection = $collection
group by all
order by e.entity_id, a.attribute"""


def label_entities(of: EntityStudy) -> None:
    """Label every entity, unless they are labelled."""
    if of.labels.skip():
        return
    settings = of.settings.answers
    rule = LabelRule(settings.min_right_samples, settings.known_attributes)
    keys = {"answering": of.answering, "entity_set": of.set.key, "collection": of.study.collection}
    graded: dict[str, list[dict[str, Any]]] = {}
    for row in rows(of.study.warehouse, GRADED, keys):
        graded.setdefault(row["entity_id"], []).append(row)
    with of.labels as stage:
        found = [_row(own, rule, settings.n_samples) for own in graded.values()]
        facts = {
            "collection": of.study.collection,
            "labelling": stage.key,
            "answering": of.answering,
            "rule": rule.text,
        }
        stage.write("entity_labels", [facts | row for row in found])
    counts = Counter(row["label"] for row in found)
    say("entities", "labels: " + ", ".join(f"{n:,} {name}" for name, n in counts.most_common()) + f" ({rule.text})")


def _row(graded: list[dict[str, Any]], rule: LabelRule, n_samples: int) -> dict[str, Any]:
    asked = [row for row in graded if row["attribute"] is not None]
    right = {row["attribute"]: row["n_correct"] for row in asked}
    n = sum(row["n"] for row in asked)
    n_tokens = sum(row["n_tokens"] for row in asked)
    return {
        "entity_id": graded[0]["entity_id"],
        "label": _label(graded[0]["invented"], right, n_samples, rule),
        "n_asked": len(asked),
        "n_right": sum(count >= rule.min_right_samples for count in right.values()),
        "share_correct": sum(right.values()) / n if n else None,
        "share_abstain": sum(row["n_abstain"] for row in asked) / n if n else None,
        "confidence": min(0.0, sum(row["log_probability"] for row in asked) / n_tokens) if n_tokens else None,
    }


def _label(invented: bool, right: dict[str, int], n_samples: int, rule: LabelRule) -> str:
    if invented:
        return "invented"
    return label(right, n_samples, rule) if right else "not_asked"
