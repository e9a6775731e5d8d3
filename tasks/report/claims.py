"""The study's claims checked against the tables: yes, no or inconclusive, each with its numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from ato.causal.intervention_names import RIVALS, STUDY, STUDY_SETS
from ato.numerics.intervals import Estimate, document_interval
from tasks.report.causal import shown
from tasks.report.numbers import with_interval
from tasks.report.panels import Rows, Scope, text


@dataclass(frozen=True)
class Claim:
    """One claim and its answer for this collection."""

    claim: str
    answer: str
    """yes, no or inconclusive."""
    evidence: str
    sql: str


def claims(scope: Scope) -> list[Claim]:
    """Every claim, checked for one collection."""
    of_features = [_features_by_leap(scope), _features_by_depth(scope), _features_over_identity(scope)]
    return [_residual_by_leap(scope), *of_features, *_costs(scope)]


def _residual_by_leap(scope: Scope) -> Claim:
    sql = f"""select source_layer, leap, r2_test, r2_test_low, r2_test_high from operators
where {scope.where} and r2_test is not null
qualify row_number() over (partition by source_layer, leap order by r2_val desc nulls last, operator) = 1
order by source_layer, leap"""
    return _falls("Residual r2 falls with the leap, from every source", scope.ask(sql), "source_layer", "r2_test", sql)


def _features_by_leap(scope: Scope) -> Claim:
    sql = f"""select target_layer, sae, leap, mean_r2, mean_r2_low, mean_r2_high, n_features from feature_depth
where {scope.where} and {scope.of_features}
order by target_layer, sae, leap"""
    return _falls(
        "Mean per-feature r2 falls with the leap, at every target", scope.ask(sql), "target_layer", "mean_r2", sql
    )


def _falls(claim: str, rows: Rows, layer: str, score: str, sql: str) -> Claim:
    """Whether a score falls from each leap to the next, for each layer that has several leaps."""
    lines, steps = [], []
    for number, some in _groups(rows, lambda r: r[layer]):
        if len(some) < 2:
            continue
        own = [_step(earlier, later, score) for earlier, later in pairwise(some)]
        steps += own
        first, last = some[0], some[-1]
        rising = "" if RISES not in own else ", rising at a step"
        lines.append(
            f"layer {number}: {with_interval(first, score)} at leap {first['leap']} to {with_interval(last, score)} at "
            f"leap {last['leap']}{rising}"
        )
    counted = _counted(steps, "steps from a leap to the next") if steps else "no layer has two leaps yet"
    return Claim(claim, _answer(steps), "; ".join([counted, *lines]), sql)


def _features_by_depth(scope: Scope) -> Claim:
    sql = f"""select leap, target_layer, sae, mean_r2, mean_r2_low, mean_r2_high, n_features from feature_depth
where {scope.where} and {scope.of_features}
order by leap, target_layer, sae"""
    lines, steps = [], []
    for leap, some in _groups(scope.ask(sql), lambda r: r["leap"]):
        shallow, deep = some[0], some[-1]
        if shallow["target_layer"] == deep["target_layer"]:
            continue
        steps.append(_step(shallow, deep, "mean_r2"))
        lines.append(
            f"leap {leap}: {with_interval(shallow, 'mean_r2')} at layer {shallow['target_layer']}, "
            f"{with_interval(deep, 'mean_r2')} at layer {deep['target_layer']}"
        )
    counted = _counted(steps, "leaps") if steps else "no leap reaches two target layers with an SAE yet"
    claim = "Features of the deepest target are transported less than those of the shallowest, at equal leap"
    return Claim(claim, _answer(steps), "; ".join([counted, *lines]), sql)


FALLS, RISES, UNDECIDED = "falls", "rises", "undecided"


def _step(earlier: dict[str, Any], later: dict[str, Any], score: str) -> str:
    """Whether a score falls or rises: only where the two 95 % intervals do not overlap."""
    (low, high), (later_low, later_high) = (
        (row.get(f"{score}_low"), row.get(f"{score}_high")) for row in (earlier, later)
    )
    if low is None or high is None or later_low is None or later_high is None:
        return UNDECIDED
    return FALLS if later_high < low else RISES if later_low > high else UNDECIDED


def _answer(steps: list[str]) -> str:
    """``no`` if one step rises, ``yes`` if all fall; what lies within the intervals decides nothing."""
    return "no" if RISES in steps else "yes" if steps and set(steps) == {FALLS} else "inconclusive"


def _counted(steps: list[str], what: str) -> str:
    counts = [steps.count(kind) for kind in (FALLS, RISES, UNDECIDED)]
    return (
        f"of {len(steps)} {what} the score falls at {counts[0]} and rises at {counts[1]}; at {counts[2]} the 95 % "
        "intervals overlap"
    )


def _features_over_identity(scope: Scope) -> Claim:
    """Paired: both maps are judged on the same features and tokens, and each document is left out of both."""
    sql = f"""select d.target_layer, d.source_layer, d.sae, d.difference, d.difference_low, d.difference_high, d.n_features
from feature_transport_differences as d
semi join latest_evaluations as l on l.kind = 'feature_transport' and l.is_latest
    and l.collection = d.collection and l.evaluation = d.evaluation and l.sae = d.sae and l.operator = d.operator
where {scope.conditions("d")} and d.against_method = 'identity'
    and d.{scope.of_features}
order by d.target_layer, d.source_layer, d.sae"""
    claim, rows = "Mean per-feature r2 is above that of the identity", scope.ask(sql)
    if not rows:
        return Claim(claim, "inconclusive", "the identity has not been evaluated on features yet", sql)
    above = sum(row["difference_low"] is not None and row["difference_low"] > 0 for row in rows)
    below = sum(row["difference_high"] is not None and row["difference_high"] < 0 for row in rows)
    answer = "yes" if above == len(rows) else "no" if below else "inconclusive"
    listed = "; ".join(
        f"{row['source_layer']} to {row['target_layer']}: {with_interval(row, 'difference')}" for row in rows
    )
    counted = f"95 % interval of the difference above 0 for {above} of {len(rows)} pairs, below 0 for {below}; "
    return Claim(claim, answer, counted + listed, sql)


def _groups(rows: Rows, key: Callable[[dict[str, Any]], Any]) -> Iterator[tuple[Any, Rows]]:
    return ((value, list(some)) for value, some in groupby(rows, key=key))


def _costs(scope: Scope) -> Iterator[Claim]:
    """Transport against each rival, the identity first, paired on the same sequences and positions."""
    chosen = shown(scope)
    sets = ", ".join(map(text, STUDY_SETS if chosen.position_set == STUDY else (chosen.position_set,)))
    for control in RIVALS:
        name = "the identity" if control == "identity" else control.replace("_", " ")
        sql = f"""select t.source_layer, t.target_layer, t.document, count(*) as n, sum(t.log_ppl - r.log_ppl) as difference
from causal_perplexity as t
inner join causal_perplexity as r
    using (collection, evaluation, source_layer, target_layer, method, positions, sequence_id)
inner join latest_evaluations as l
    on l.kind = 'causal_effects' and l.collection = t.collection and l.evaluation = t.evaluation and l.part = t.positions
    and l.source_layer = t.source_layer and l.target_layer = t.target_layer and l.method = t.method
where l.is_latest and t.{scope.of_collection} and t.intervention = 'transport' and r.intervention = '{control}'
    and t.feature_id is null and r.feature_id is null and t.method = {text(chosen.method)} and t.positions in ({sets})
group by all
order by t.target_layer, t.source_layer, t.document"""
        yield _cost(f"Transport costs less perplexity than {name}", scope.ask(sql), sql)


def _cost(claim: str, rows: Rows, sql: str) -> Claim:
    if not rows:
        return Claim(claim, "inconclusive", "these interventions have not been run on the same sequences yet", sql)
    mean = _paired_mean(rows)
    pairs = [_paired_mean(some) for _, some in _groups(rows, lambda r: (r["target_layer"], r["source_layer"]))]
    less, more = sum(map(_below_zero, pairs)), sum(map(_above_zero, pairs))
    interval = "" if mean.low is None else f" [{mean.low:+.4f}, {mean.high:+.4f}]"
    answer = "yes" if _below_zero(mean) else "no" if _above_zero(mean) else "inconclusive"
    n = sum(row["n"] for row in rows)
    return Claim(
        claim,
        answer,
        f"{float(mean):+.4f}{interval} nats per token on average over {len(pairs)} layer pairs ({n:,} paired sequences, "
        f"{len({row['document'] for row in rows}):,} documents); 95 % interval below 0 for {less} pairs, above 0 for "
        f"{more}, around 0 for {len(pairs) - less - more}",
        sql,
    )


def _below_zero(difference: Estimate) -> bool:
    return difference.high is not None and difference.high < 0


def _above_zero(difference: Estimate) -> bool:
    return difference.low is not None and difference.low > 0


def _paired_mean(rows: Rows) -> Estimate:
    """Mean difference per sequence and its 95 % interval; a document is left out with all its sequences and pairs."""
    documents = sorted({row["document"] for row in rows})
    sums = np.zeros((len(documents), 2))
    for row in rows:
        sums[documents.index(row["document"])] += row["difference"], row["n"]
    return document_interval(sums, lambda s: s[..., 0] / s[..., 1], sums[:, 1]).item()
