"""What the model knows about entities, which features say so, and what they change: in sentences, whatever comes out."""

from dataclasses import replace
from html import escape
from itertools import groupby
from typing import Any

from tasks.report.panels import Panel, Rows, Scope, absent, extent, number, text, with_interval

COMMAND = "run `ato run entities`"
LENGTHS = ("n_tokens", "n_characters")
"""Baselines that only say how long a name is."""


def panels(scope: Scope) -> list[Panel]:
    """Counts, best features, interventions and transport; nothing where no entity was asked about."""
    if not scope.ask(f"select collection from entities where {scope.of_collection} limit 1"):
        return []
    return [_knowledge(scope), _latents(scope), _interventions(scope), _transport(scope)]


def _told(panel: Panel, sentences: list[str]) -> Panel:
    """The panel with sentences in place of a figure."""
    body = "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"
    return replace(panel, alt=f"{panel.title}, in sentences.", body=body)


def _knowledge(scope: Scope) -> Panel:
    key, title = "entity-knowledge", "What the model knows about entities"
    sql = f"""select entity_type, label, count(*) as n_entities, count(*) filter (where split = 'test') as n_test,
    avg(share_correct) as share_correct, avg(share_abstain) as share_abstain, avg(n_tokens) as n_tokens, any_value(rule) as rule
from entity_knowledge
where {scope.of_collection} and label is not null
group by entity_type, label
order by entity_type, list_position(['known', 'between', 'unknown', 'invented'], label)"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no entity has a label yet, {COMMAND}")
    sentences = []
    for kind, some in groupby(rows, key=lambda r: r["entity_type"]):
        parts = [
            f"{r['n_entities']:,} {r['label']} ({_percent(r['share_correct'])} of answers right, "
            f"{_percent(r['share_abstain'])} withheld, {number(r['n_tokens'], 1)} tokens a name)"
            for r in some
        ]
        sentences.append(f"{kind}: {', '.join(parts)}.")
    n = f"{sum(r['n_entities'] for r in rows):,} entities, {sum(r['n_test'] for r in rows):,} of them in the test split"
    caption = f"Labels follow from graded answers. Rule: {rows[0]['rule']}."
    return _told(Panel(key, title, sql, rows, caption, n, ""), sentences)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _latents(scope: Scope) -> Panel:
    key, title = "entity-latents", "Features that tell known from unknown"
    sql = f"""select contrast, template, position, direction, layer, feature_id, separation, q, p_max, general_rate,
    test_separation, test_separation_low, test_separation_high, auroc, auroc_low, auroc_high,
    best_baseline, best_baseline_layer, best_baseline_auroc, best_baseline_auroc_low, best_baseline_auroc_high,
    beats_baselines, matched, confounded_by, n_positive, n_negative, top_tokens
from entity_latent_ranking
where {scope.of_collection} and entity_type = 'all' and rank = 1
order by contrast = 'known_unknown' desc, contrast, template = 'name' desc, template, position, direction"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no feature was ranked, {COMMAND}")
    sentences = [_best(r) for r in rows]
    for r in _first_of_each(rows):
        if told := r["confounded_by"]:
            lengths = " Length alone does." if set(told) & set(LENGTHS) else ""
            sentences.append(
                f"Caution, {_where(r)}: {', '.join(name.replace('_', ' ') for name in told)} alone "
                f"tell{'s' if len(told) == 1 else ''} the classes apart; they are "
                f"{'' if r['matched'] else 'not '}matched on token count.{lengths}"
            )
    caption = (
        "The best feature of each direction over all entity types and SAEs, chosen on train entities; separation and AUROC "
        "are of test entities, with 95 % intervals by entity. q: Benjamini-Hochberg over all features; p: share of label "
        "permutations whose best feature separates as well. The best baseline is the best on the same test entities."
    )
    n = f"{extent(rows, 'n_positive')} test entities of the first class, {extent(rows, 'n_negative')} of the second"
    return _told(Panel(key, title, sql, rows, caption, n, ""), sentences)


def _first_of_each(rows: Rows) -> Rows:
    """One row for each contrast, template and position."""
    return [next(some) for _, some in groupby(rows, key=lambda r: (r["contrast"], r["template"], r["position"]))]


def _where(r: dict[str, Any]) -> str:
    return f"{r['contrast'].replace('_', ' against ')} at {r['position']} of {r['template']}"


def _best(r: dict[str, Any]) -> str:
    verdict = {
        True: "It is better than every baseline.",
        False: "It is not better than the best baseline: nothing new was found.",
        None: "Whether it beats the baselines was not measured.",
    }[r["beats_baselines"]]
    baseline = "No baseline could be measured."
    if r["best_baseline"] is not None:
        at = "" if r["best_baseline_layer"] is None else f" at layer {r['best_baseline_layer']}"
        baseline = (
            f"The best baseline, {r['best_baseline'].replace('_', ' ')}{at}, has AUROC "
            f"{with_interval(r, 'best_baseline_auroc')}. {verdict}"
        )
    return (
        f"{_where(r)}: the best feature for {r['direction']} is {r['feature_id']} at layer {r['layer']}, with held-out AUROC "
        f"{with_interval(r, 'auroc')} and separation {with_interval(r, 'test_separation')} "
        f"({number(r['separation'])} on train, q {number(r['q'], 3)}, p {number(r['p_max'], 3)}). {baseline}"
    )


def _interventions(scope: Scope) -> Panel:
    key, title = "entity-interventions", "Interventions along entity features"
    sql = f"""select label, intervention, direction, position, strength, outcome, n_entities, unedited, change, change_low,
    change_high, n_draws, control_mean, control_low, control_high, p_control, beyond_controls, is_damage
from entity_intervention_summary
where {scope.of_collection}
order by label, intervention, direction, position, outcome"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"nothing was intervened on, {COMMAND}")
    edits = groupby(rows, key=lambda r: (r["label"], r["intervention"], r["direction"], r["position"]))
    caption = (
        "Mean change on test entities against the same entities unedited, with paired 95 % intervals by entity. Controls "
        "are random features of equal layer, firing rate and decoder norm: their mean, and two standard deviations of the "
        "draws either way; p: share of draws that change as much. Fewer right answers with more withheld ones are damage."
    )
    n = f"{extent(rows, 'n_entities')} test entities (for KL, sequences), {extent(rows, 'n_draws')} random draws"
    return _told(Panel(key, title, sql, rows, caption, n, ""), [_edit(list(some)) for _, some in edits])


def _edit(rows: Rows) -> str:
    """One intervention on one class: its outcomes beside controls."""
    first = rows[0]
    at = f" at {first['position']}" if first["position"] else ""
    strength = "" if first["strength"] is None else f" with strength {first['strength']:g}"
    parts = []
    for r in rows:
        reading = {True: "beyond", False: "not beyond", None: "no"}[r["beyond_controls"]]
        controls = "no controls"
        if r["control_mean"] is not None:
            band = f"{number(r['control_mean'], 3)} [{number(r['control_low'], 3)}, {number(r['control_high'], 3)}]"
            controls = f"{reading} controls {band}, p {number(r['p_control'], 3)}"
        parts.append(f"{r['outcome'].replace('_', ' ')} by {with_interval(r, 'change', 3)} ({controls})")
    damage = " This is damage, not control." if any(r["is_damage"] for r in rows) else ""
    return (
        f"{first['intervention']} {first['direction']}{at}{strength} changes, on {first['label']} entities, "
        f"{'; '.join(parts)}.{damage}"
    )


def _transport(scope: Scope) -> Panel:
    key, title = "entity-transport", "Is knowledge of entities carried or computed?"
    sql = f"""select contrast, template, position, direction, rank, target_layer, feature_id, method, source_layer, leap, n_entities,
    r2, r2_low, r2_high, r2_identity, r2_identity_low, r2_identity_high, carried, r2_text, verdict_text
from entity_latent_transport
where {scope.of_collection} and method = {text(scope.method)} and rank = 1
order by contrast = 'known_unknown' desc, contrast, template, position, direction, target_layer, feature_id, leap"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no operator into these features' layers was evaluated at entities, {COMMAND}")
    latents = groupby(
        rows, key=lambda r: (r["contrast"], r["template"], r["position"], r["direction"], r["feature_id"])
    )
    caption = (
        "r² of the activation over test entities, predicted by the operator from a lower layer, with 95 % intervals by "
        "entity. Computed: the interval lies at or below 0.3. Carried: it lies at or above 0.7, or above 0.3 and above "
        "that of the identity, which takes the source residual itself. Else unclear."
    )
    n = f"{extent(rows, 'n_entities')} test entities; method {scope.method}"
    return _told(Panel(key, title, sql, rows, caption, n, ""), [_carried(list(some)) for _, some in latents])


def _carried(rows: Rows) -> str:
    """One feature from every source layer, nearest first."""
    first = rows[0]
    parts = []
    for r in rows:
        ordinary = ""
        if r["verdict_text"] is not None:
            verdict = "computed" if r["verdict_text"] == "synthesised" else r["verdict_text"]
            ordinary = f"; on ordinary text {number(r['r2_text'])}, {verdict}"
        parts.append(
            f"from layer {r['source_layer']} {r['carried']} (r² {with_interval(r, 'r2')}, identity "
            f"{with_interval(r, 'r2_identity')}{ordinary})"
        )
    return (
        f"{_where(first)}: the best feature for {first['direction']}, {first['feature_id']} at layer "
        f"{first['target_layer']}, is {'; '.join(parts)}."
    )
