"""How far two judges put the features of one SAE into the same classes."""

from typing import Any

from ato.autointerp.agreement import agreement_by_property
from tasks.engine.stage import Stage
from tasks.label.stages import Labelled, LabelStudy
from warehouse.catalog.catalog import rows

_VALUES = "select feature_id, property, value from feature_labels where collection = ? and labelling = ?"
_JUDGE = "select any_value(judge) as judge from feature_labels where collection = ? and labelling = ?"


def write_agreement(of: LabelStudy, member: Labelled, stage: Stage) -> None:
    """Write ``label_agreement`` of one SAE: a row for each property of the label space."""
    space, warehouse = of.label_space, of.study.warehouse
    assert space is not None
    first, second = (of.labels(member, judge).key for judge in of.judges)
    values: list[list[dict[str, str | None]]] = []
    judges: list[str] = []
    for key in (first, second):
        by_feature: dict[int, dict[str, str | None]] = {int(feature): {} for feature in member.chosen.feature_id}
        for row in rows(warehouse, _VALUES, [stage.collection, key]):
            by_feature[row["feature_id"]][row["property"]] = row["value"]
        values.append(list(by_feature.values()))
        judges.append(rows(warehouse, _JUDGE, [stage.collection, key])[0]["judge"])
    own: dict[str, Any] = {
        "collection": stage.collection,
        "comparison": stage.key,
        "layer": member.layer,
        "judge": judges[0],
        "other_judge": judges[1],
        "labelling": first,
        "other_labelling": second,
        "space": space.name,
    }
    found = agreement_by_property(values[0], values[1], space)
    table = [
        own
        | {
            "property": name,
            "n": one.n,
            "agreement": one.share.value,
            "kappa": one.kappa.value,
            "kappa_low": one.kappa.low,
            "kappa_high": one.kappa.high,
            "reason": None if one.kappa.value is not None else _why_not(one.n),
        }
        for name, one in found.items()
    ]
    stage.write("label_agreement", table, sae=member.key)


def _why_not(n: int) -> str:
    return "no feature has a value by both judges" if n == 0 else "both judges give one value only"
