"""What the model knows about entities, which features say so, and what they change: in sentences, whatever comes out."""

from itertools import groupby
from typing import Any

from tasks.report.numbers import extent, number, with_interval
from tasks.report.panels import Panel, Rows, Scope, absent, in_sentences, text

COMMAND = "run `ato run entities`"
LENGTHS = ("n_tokens", "n_characters")
"""Baselines that only say how long a name is."""
BASELINES = {
    "n_tokens": "the number of tokens of the name",
    "n_characters": "the number of characters of the name",
    "token_frequency": "the frequency of the name's tokens",
    "confidence": "the confidence of the model's answers",
    "probe": "a linear probe",
}
SCORES = {"latent": "the best feature", "probe": "a linear probe", "confidence": "the confidence of the answers"}
UNITS = {
    "correct": "the share of right answers",
    "wrong": "of wrong answers",
    "abstain": "of withheld answers",
    "self_report": "the logit of Yes minus No to knowing it",
    "attention": "the attention to the entity",
}
"""Outcome -> what changes, in the order of sentences."""
LEVEL = 0.05
"""A q above it may be chance."""


def panels(scope: Scope) -> list[Panel]:
    """Counts, best features, what one number predicts, interventions, transport; nothing where no entity was asked about."""
    if not scope.ask(f"select collection from entities where {scope.of_collection} limit 1"):
        return []
    return [_knowledge(scope), _latents(scope), _classifiers(scope), _interventions(scope), _transport(scope)]


def _knowledge(scope: Scope) -> Panel:
    key, title = "entity-knowledge", "What the model knows about entities"
    sql = f"""select entity_type, label, count(*) as n_entities, count(*) filter (where split = 'test') as n_test,
    avg(share_correct) as share_correct, avg(share_abstain) as share_abstain, avg(n_tokens) as n_tokens, any_value(rule) as rule
from entity_knowledge
where {scope.of_collection} and label is not null
group by entity_type, label
order by entity_type, list_position(['known', 'between', 'unknown', 'invented'], label) nulls last"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no entity has a label yet, {COMMAND}")
    sentences = []
    for kind, some in groupby(rows, key=lambda r: r["entity_type"]):
        sentences.append(f"{kind}: {', '.join(map(_counted, some))}.")
    n = f"{sum(r['n_entities'] for r in rows):,} entities, {sum(r['n_test'] for r in rows):,} of them in the test split"
    caption = f"Labels follow from graded answers. Rule: {rows[0]['rule']}."
    return in_sentences(Panel(key, title, sql, rows, caption, n, ""), sentences)


def _counted(r: dict[str, Any]) -> str:
    answers = ""
    if r["share_correct"] is not None:
        answers = f"{r['share_correct']:.0%} of answers right, {r['share_abstain']:.0%} withheld, "
    label = r["label"].replace("_", " ")
    return f"{r['n_entities']:,} {label} ({answers}{number(r['n_tokens'], 1)} tokens a name)"


def _latents(scope: Scope) -> Panel:
    key, title = "entity-latents", "Features that separate known from unknown entities"
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
                f"Caution, {_where(r)}: {', '.join(BASELINES.get(name, name) for name in told)} alone "
                f"tell{'s' if len(told) == 1 else ''} the classes apart; they are "
                f"{'' if r['matched'] else 'not '}matched on token count.{lengths}"
            )
    caption = (
        "The best feature of each direction over all entity types and SAEs, chosen on train entities; separation and AUROC "
        "are of test entities, with 95 % intervals by entity. q: Benjamini-Hochberg over all features; p: share of label "
        "permutations whose best feature separates as well. The best baseline is the best on the same test entities."
    )
    n = f"{extent(rows, 'n_positive')} test entities of the first class, {extent(rows, 'n_negative')} of the second"
    return in_sentences(Panel(key, title, sql, rows, caption, n, ""), sentences)


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
            f"The best baseline, {BASELINES.get(r['best_baseline'], r['best_baseline'])}{at}, has AUROC "
            f"{with_interval(r, 'best_baseline_auroc')}. {verdict}"
        )
    return (
        f"{_where(r)}: the best feature for {r['direction']} is {r['feature_id']} at layer {r['layer']}, with held-out AUROC "
        f"{with_interval(r, 'auroc')} and separation {with_interval(r, 'test_separation')} "
        f"({number(r['separation'])} on train, {_small('q', r['q'])}, {_small('p', r['p_max'])}). {_chance(r)}{baseline}"
    )


def _small(name: str, value: float | None) -> str:
    """A share that may be smaller than what three digits show."""
    return f"{name} < 0.001" if value is not None and value < 0.001 else f"{name} {number(value, 3)}"


def _chance(r: dict[str, Any]) -> str:
    return "Its separation on train may be chance. " if r["q"] is not None and r["q"] > LEVEL else ""


def _classifiers(scope: Scope) -> Panel:
    key, title = "entity-classifiers", "Right against wrong answers, by one number"
    sql = f"""select contrast, template, position, score, layer, feature_id, auroc, auroc_low, auroc_high, f1, f1_constant,
    precision, recall, brier, brier_constant, calibration_error, n_positive, n_negative
from entity_classification
where {scope.of_collection} and entity_type = 'all'
order by contrast = 'correct_wrong' desc, contrast, template, position, list_position(['latent', 'probe', 'confidence'], score)"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no answer was predicted, {COMMAND}")
    places = groupby(rows, key=lambda r: (r["contrast"], r["template"], r["position"]))
    caption = (
        "The feature is the one that separates best on train, the probe that of the layer that is best on validation; "
        "thresholds and calibration are chosen on validation, all scores are of test, AUROC with 95 % intervals by entity. "
        "In brackets: F1 of always naming the first class. Calibration error: mean gap between predicted and true share."
    )
    n = f"{extent(rows, 'n_positive')} test answers or entities of the first class, {extent(rows, 'n_negative')} of the second"
    return in_sentences(Panel(key, title, sql, rows, caption, n, ""), [_predicted(list(some)) for _, some in places])


def _predicted(rows: Rows) -> str:
    parts = []
    for r in rows:
        at = "" if r["layer"] is None else f" at layer {r['layer']}"
        at = at if r["feature_id"] is None else f", {r['feature_id']}{at},"
        parts.append(
            f"{SCORES[r['score']]}{at} has AUROC {with_interval(r, 'auroc')}, F1 {number(r['f1'])} "
            f"({number(r['f1_constant'])}) and calibration error {number(r['calibration_error'])}"
        )
    return f"{_where(rows[0])}: {'; '.join(parts)}."


def _interventions(scope: Scope) -> Panel:
    key, title = "entity-interventions", "Interventions along entity features"
    sql = f"""select label, intervention, direction, layer, feature_id, position, strength, outcome, n_entities, unedited, change,
    change_low, change_high, n_draws, control_mean, control_low, control_high, p_control, beyond_controls, is_damage,
    entity_set, of_latest_set
from entity_intervention_summary
where {scope.of_collection} and change is not null
order by label = 'text', label, intervention, direction, position, outcome"""
    rows = scope.ask(sql)
    if not rows:
        return absent(key, title, sql, f"no interventions yet, {COMMAND}")
    edits = groupby(rows, key=lambda r: (r["label"], r["intervention"], r["direction"], r["position"]))
    others = sorted({r["entity_set"] for r in rows if not r["of_latest_set"]})
    caution = [f"Caution: of another set of entities than the one counted above, {', '.join(others)}."] * bool(others)
    of_entities = [r for r in rows if r["outcome"] != KL]
    caption = (
        "The latents are those ranked first on train. Mean change on test entities against the same entities unedited, with "
        "paired 95 % intervals by entity. Controls are random features of the same layer, nearest in firing rate and decoder norm: their "
        "mean, and two standard deviations of the draws either way; p: (1 + draws that change as much) / (1 + "
        "draws), so fewer than 19 draws cannot reach p = "
        "0.05. Fewer right answers with more withheld ones are damage."
    )
    n = f"{extent(of_entities, 'n_entities')} test entities a class, {extent(of_entities, 'n_draws')} random draws"
    return in_sentences(
        Panel(key, title, sql, rows, caption, n, ""), [*caution, *(_edit(list(some)) for _, some in edits)]
    )


KL = "kl"


def _edit(rows: Rows) -> str:
    """One intervention on one class: its outcomes beside controls."""
    first = rows[0]
    latent = "latent" if first["feature_id"] is None else f"latent {first['feature_id']} of layer {first['layer']}"
    done = {"steer": "steering", "ablate": "ablating", "orthogonalise": "orthogonalising weights against"}
    at = f" at {first['position']}" if first["position"] else ""
    strength = "" if first["strength"] is None else f" with strength {first['strength']:g}"
    doing = f"{done.get(first['intervention'], first['intervention'])} {latent} ({first['direction']}){at}{strength}"
    by_outcome = {r["outcome"]: r for r in rows}
    if KL in by_outcome:
        r = by_outcome[KL]
        return f"On ordinary text {doing} costs a KL divergence of {with_interval(r, 'change', 3)} nats per token."
    grades = [r for r in rows if r["outcome"] in ("correct", "wrong", "abstain")]
    still = bool(grades) and not any(r["change"] or r["change_low"] or r["change_high"] for r in grades)
    told = [by_outcome[name] for name in UNITS if name in by_outcome and not (still and by_outcome[name] in grades)]
    parts = [f"{UNITS[r['outcome']]} by {with_interval(r, 'change', 3)} ({_controls(r)})" for r in told]
    changes = f" changes {'; '.join(parts)}" if parts else ""
    unchanged = f" leaves every grade as it was{' and' if parts else ''}" if still else ""
    damage = " This is damage, not control." if any(r["is_damage"] for r in rows) else ""
    return f"On {first['n_entities']} {first['label']} entities {doing}{unchanged}{changes}.{damage}"


def _controls(r: dict[str, Any]) -> str:
    if r["control_mean"] is None:
        return "no controls"
    band = f"{number(r['control_mean'], 3)} [{number(r['control_low'], 3)}, {number(r['control_high'], 3)}]"
    if r["beyond_controls"] is None:
        return f"{r['n_draws']} controls, too few: {band}"
    return f"{'' if r['beyond_controls'] else 'not '}beyond controls {band}, {_small('p', r['p_control'])}"


def _transport(scope: Scope) -> Panel:
    key, title = "entity-transport", "Is knowledge of entities carried or computed?"
    sql = f"""select contrast, template, position, direction, rank, q, target_layer, feature_id, method, source_layer, leap, n_entities,
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
        "r2 of the activation over test entities, predicted by the operator from a lower layer, with 95 % intervals by "
        "entity. Computed: the interval lies at or below 0.3. Carried: it lies at or above 0.7, or above 0.3 and above "
        "that of the identity, which takes the source residual itself. Else unclear. Where both agree far below 0, "
        "both predict that the feature is "
        "inactive."
    )
    n = f"{extent(rows, 'n_entities')} test entities; method {scope.method}"
    return in_sentences(Panel(key, title, sql, rows, caption, n, ""), [_carried(list(some)) for _, some in latents])


def _carried(rows: Rows) -> str:
    """One feature from every source layer, nearest first."""
    first = rows[0]
    parts = []
    for r in rows:
        ordinary = ""
        if r["verdict_text"] is not None:
            ordinary = f"; on ordinary text {number(r['r2_text'])}, {r['verdict_text']}"
        parts.append(
            f"from layer {r['source_layer']} {r['carried']} (r2 {with_interval(r, 'r2')}, identity "
            f"{with_interval(r, 'r2_identity')}{ordinary})"
        )
    return (
        f"{_where(first)}: the best feature for {first['direction']}, {first['feature_id']} at layer "
        f"{first['target_layer']}, is {'; '.join(parts)}. {_chance(first)}".rstrip()
    )
