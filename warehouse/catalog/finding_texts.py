"""Findings in words: a sentence made from the rows of one finding of the mart ``findings``, the same wherever it is shown.

The page ``overview``, ``ato show`` and the report take their sentences from here. A number stands with its 95 % interval where
the table has one, and with its n.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ato.causal.intervention_names import edited_in_words

Rows = Sequence[Mapping[str, Any]]

OF_COLLECTION = """select place, finding, topic, page, source_layer, target_layer, subject, measure, value, low, high, n, unit,
    is_headline, threshold, note
from findings
where collection = $collection
order by place, measure, target_layer, source_layer, subject"""
"""All rows of a collection, as ``findings_of`` takes them."""
OF_FINDING = OF_COLLECTION.replace("\norder by", " and finding = $finding\norder by")
"""The rows of one finding."""


@dataclass(frozen=True)
class Finding:
    """One thing that a study found."""

    name: str
    topic: str
    page: str
    """Address of the dashboard's page that shows more."""
    text: str
    """One or two sentences."""
    rows: Rows
    """What it was made from."""


def findings_of(rows: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """The findings of one collection, in order.

    Args:
        rows: of ``OF_COLLECTION``.
    """
    found = []
    for name, group in groupby(rows, key=lambda row: row["finding"]):
        own = list(group)
        found.append(Finding(name, own[0]["topic"], own[0]["page"], _TEXTS[name](own), own))
    return found


def interval(row: Mapping[str, Any], name: str = "value", *, percent: bool = False) -> str:
    """A number with its interval: ``0.81 [0.78, 0.84]``, or in percent ``41 % [36, 46]``; two digits that count."""
    ends = [row[name], row["low"], row["high"]]
    if percent:
        shown = ["" if end is None else f"{100 * end:.0f}" for end in ends]
        return f"{shown[0]} %" + (f" [{shown[1]}, {shown[2]}]" if shown[1] and shown[2] else "")
    size = max(abs(end) for end in ends if end is not None)
    digits = 2 if size >= 0.1 else 3 if size >= 0.01 else 4
    while (
        digits < 4 and ends[1] is not None and ends[1] != ends[2] and f"{ends[1]:.{digits}f}" == f"{ends[2]:.{digits}f}"
    ):
        digits += 1
    low, high = (None if end is None else f"{end:.{digits}f}" for end in ends[1:])
    return f"{ends[0]:.{digits}f}" + (f" [{low}, {high}]" if low and high else "")


def _by_leap(rows: Rows) -> str:
    near, *far = sorted(_headline(rows), key=lambda row: -row["source_layer"])
    more = "".join(f", and of {interval(row)} from layer {row['source_layer']}" for row in far)
    return (
        f"Features of layer {near['target_layer']} are predicted with a mean r2 of {interval(near)} from layer "
        f"{near['source_layer']}{more} ({near['subject']}, {_n([near, *far])})."
    )


def _verdicts(rows: Rows) -> str:
    own = {row["measure"]: row for row in _headline(rows)}
    carried, computed, unknown = (own[f"share_{name}"] for name in ("transported", "computed", "undetermined"))
    above, below = (
        f"{where} {row['threshold']:g}" if row["threshold"] is not None else f"{where} the threshold"
        for where, row in (("above", carried), ("below", computed))
    )
    return (
        f"Of {_n([carried])} of layer {carried['target_layer']}, {interval(carried, percent=True)} are transported from layer "
        f"{carried['source_layer']} (95 % interval of r2 {above}); {interval(computed, percent=True)} are computed on the way "
        f"({below}) and {interval(unknown, percent=True)} are undetermined."
    )


def _features_over_identity(rows: Rows) -> str:
    return (
        f"{_name(rows)} predicts features better than the identity in {_counts(rows, 'n_above', 'n_below', 'worse')} "
        f"(95 % interval of the paired difference in mean r2): {_extremes(rows)}."
    )


def _residuals_over_identity(rows: Rows) -> str:
    return (
        f"{_name(rows)} leaves less squared error of the residual than the identity in "
        f"{_counts(rows, 'n_above', 'n_below', 'more')} (95 % interval of the skill, 1 - SSE / SSE of the identity): "
        f"{_extremes(rows)}."
    )


def _cost(rows: Rows) -> str:
    (cost,) = [row for row in _headline(rows) if row["measure"] == "added_loss"]
    text = (
        f"Replacing the residuals of layer {cost['target_layer']} {edited_in_words(cost['subject'])} by their transport from "
        f"layer {cost['source_layer']} adds {interval(cost)} nats per token to the next-token loss ({_n([cost])})."
    )
    if not any(row["measure"] == "n_below" for row in rows):
        return text
    counted = _counts(rows, "n_below", "n_above", "more")
    return (
        f"{text} It costs less than the identity in {counted} (95 % interval of the difference on the same sequences)."
    )


def _composed(rows: Rows) -> str:
    (most, *_) = sorted(_pairs(rows), key=lambda row: -row["value"])
    return (
        f"A product of two operators over a middle layer has a lower r2 than the direct operator in "
        f"{_counts(rows, 'n_above', 'n_below', 'a higher one')} (95 % interval of the difference): at most by {interval(most)}, "
        f"from layer {most['source_layer']} {most['subject']} to {most['target_layer']} ({_n([most])})."
    )


def _fates(rows: Rows) -> str:
    shares = [row for row in _headline(rows) if row["measure"].startswith("share_")]
    first = shares[0]
    by_name = {row["measure"].removeprefix("share_"): row for row in shares}
    told = [name for name in ("carried", "rewritten", "computed", "undetermined") if name in by_name]
    listed = ", ".join(f"{name} {interval(by_name[name], percent=True)}" for name in told)
    text = f"{_n([first])} of layer {first['target_layer']} followed from layer {first['source_layer']}: {listed} (no interval)."
    kappa = [row for row in rows if row["measure"] == "kappa_ablation"]
    if kappa:
        text += f" The operator and ablation agree on them with Cohen's κ = {interval(kappa[0])} ({_n(kappa)})."
    return text


def _saes(rows: Rows) -> str:
    (trusted,) = [row for row in rows if row["measure"] == "n_trusted"]
    fvu = sorted((row for row in rows if row["measure"] == "fvu"), key=lambda row: row["value"])
    recovered = sorted((row for row in rows if row["measure"] == "ce_recovered"), key=lambda row: row["value"])
    alone = trusted["n"] == 1
    passing = "passes" if trusted["value"] == 1 else "pass"
    text = f"{_count(trusted['value'])} of {trusted['n']} SAE{'s' * (not alone)} {passing} the quality thresholds."
    if fvu:
        text += f" {'It leaves' if alone else 'They leave'} {_range(fvu)} of the variance unexplained"
        text += f" and {'recovers' if alone else 'recover'} {_range(recovered)} of the loss" if recovered else ""
        text += f" ({_n([*fvu, *recovered])})."
    return text


def _architectures(rows: Rows) -> str:
    (row,) = _headline(rows)
    size, kinds = abs(row["value"]), row["subject"].replace(" before ", ", ahead of ", 1)
    spread = "" if row["low"] is None else f", spread of seeds {(row['high'] - row['low']) / 2:.3f}"
    return (
        f"At layer {row['target_layer']} the fraction of variance unexplained is lowest for {kinds}: by "
        f"{size:.3f}{spread} ({_n([row])}); {row['note']}."
    )


def _innovations(rows: Rows) -> str:
    (row,) = _headline(rows)
    return (
        f"At layer {row['target_layer']}, an SAE of what the operator from layer {row['source_layer']} does not predict leaves a "
        f"fraction of variance unexplained that differs by {interval(row)} from that of a plain SAE ({row['subject']}, "
        f"{row['note']}; {_n([row])})."
    )


def _entities(rows: Rows) -> str:
    own = {row["measure"]: row for row in _headline(rows)}
    auroc, baseline = own["auroc"], own.get("baseline_auroc")
    text = (
        f"The feature of layer {auroc['target_layer']} chosen on train for {auroc['subject'].replace(': feature', ', feature')}, "
        f"tells known from unknown entities with an AUROC of {interval(auroc)} ({_n([auroc])} of the test split)"
    )
    if baseline is not None:
        name = "a linear probe" if baseline["note"] == "probe" else baseline["note"].replace("_", " ")
        text += f"; without an SAE, {name} reaches {interval(baseline)}: {auroc['note']}"
    return f"{text}."


def _descriptions(rows: Rows) -> str:
    own = {row["measure"]: row for row in _headline(rows)}
    found, shuffled = own["detection"], own.get("detection_shuffled")
    control = "" if shuffled is None else f", with descriptions of other features {interval(shuffled)}"
    return (
        f"By its description alone, {found['subject']} tells where a feature of layer {found['target_layer']} fires with a "
        f"balanced accuracy of {interval(found)}{control} ({_n([found])})."
    )


def _edges(rows: Rows) -> str:
    low, *_, high = sorted(
        [row for row in _headline(rows) if row["measure"] == "pearson"] * 2, key=lambda row: row["value"]
    )
    controls = {row["subject"]: interval(row) for row in rows if row["measure"] == "pearson_control"}

    def told(row: Mapping[str, Any]) -> str:
        control = f", with other edges {controls[row['subject']]}" if row["subject"] in controls else ""
        return f"{interval(row)} in the graph of “{row['subject']}” ({_n([row])}{control})"

    several = "" if low["subject"] == high["subject"] else f", to {told(high)}"
    return f"Edges and ablations in the running model correlate with {told(low)}{several}."


def _graph_transport(rows: Rows) -> str:
    low, *_, high = sorted([*_headline(rows)] * 2, key=lambda row: row["value"])
    prompts = len(rows)
    if low["value"] == high["value"]:
        return (
            f"In the graph of “{low['subject']}”, {interval(low, percent=True)} of the effect between features is plain "
            f"transport ({_n([low])})."
        )
    return (
        f"Plain transport is {interval(low, percent=True)} (“{low['subject']}”) to {interval(high, percent=True)} "
        f"(“{high['subject']}”) of the effect between features, in the graphs of {prompts} prompts."
    )


def _models(rows: Rows) -> str:
    own = {row["measure"]: row for row in _headline(rows)}
    found, changed = own["mean_difference"], own["n_changed"]
    return (
        f"In {found['subject']}, features of layer {found['target_layer']} are predicted from layer {found['source_layer']} with "
        f"an r2 that differs from the one here by {interval(found)} on average; it changed for {_count(changed['value'])} of {_n([found])}."
    )


_TEXTS: dict[str, Callable[[Rows], str]] = {
    "features_by_leap": _by_leap,
    "feature_verdicts": _verdicts,
    "features_over_identity": _features_over_identity,
    "residuals_over_identity": _residuals_over_identity,
    "replacement_cost": _cost,
    "direct_or_composed": _composed,
    "feature_fates": _fates,
    "sae_quality": _saes,
    "sae_architectures": _architectures,
    "innovation_saes": _innovations,
    "entity_knowledge": _entities,
    "descriptions": _descriptions,
    "graph_edges": _edges,
    "graph_transport": _graph_transport,
    "other_models": _models,
}


def _headline(rows: Rows) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["is_headline"]]


def _pairs(rows: Rows) -> list[Mapping[str, Any]]:
    """Rows of single pairs of layers that the sentence names."""
    return [row for row in _headline(rows) if row["source_layer"] is not None]


def _name(rows: Rows) -> str:
    """The operator at the beginning of a sentence."""
    return f"The {rows[0]['subject'].replace('_', ' ')} operator"


def _counts(rows: Rows, better: str, worse: str, word: str) -> str:
    """``8 of 10 pairs, worse in 1``."""
    own = {row["measure"]: row for row in rows}
    n = own[better]["n"]
    return f"{_count(own[better]['value'])} of {n} {'pair' if n == 1 else 'pairs'}, {word} in {_count(own[worse]['value'])}"


def _extremes(rows: Rows) -> str:
    """The largest and the smallest number, each with its pair."""
    low, *rest = sorted(_pairs(rows), key=lambda row: row["value"])
    named = [low, *rest[-1:]]
    listed = [f"{interval(row)} (layer {row['source_layer']} → {row['target_layer']})" for row in named]
    return f"{f'between {listed[0]} and {listed[1]}' if rest else listed[0]}; {_n(named)}"


def _range(rows: Rows) -> str:
    """The smallest and the largest of sorted rows."""
    low, high = rows[0], rows[-1]
    return interval(low) if len(rows) == 1 else f"{interval(low)} to {interval(high)}"


def _n(rows: Rows) -> str:
    """How many of what the numbers of these rows rest on."""
    counts = sorted({row["n"] for row in rows if row["n"] is not None})
    unit = rows[0]["unit"]
    if not counts:
        return unit
    if counts == [1]:
        return f"1 {unit.removesuffix('s')}"
    return f"{counts[0]:,} {unit}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} {unit}"


def _count(value: float) -> str:
    return "none" if value == 0 else f"{value:,.0f}"
