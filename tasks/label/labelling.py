"""Labelling the features of one SAE by one judge, some at a time, from the evidence in the warehouse."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ato.autointerp.labelling import FittedJudge, LabelPlan, label_features
from ato.autointerp.recorded_calls import BUDGET
from ato.autointerp.trials import TrialPlan
from tasks.engine.parallel_parts import split_evenly
from tasks.engine.progress import Progress, say
from tasks.engine.stage import Stage
from tasks.label.evidence_reading import read_evidence
from tasks.label.judges import OpenJudge
from tasks.label.label_rows import Rows, label_rows
from tasks.label.stages import Labelled, LabelStudy

TOGETHER, TOGETHER_BY_SERVER = 32, 8
"""Features labelled at a time, by a judge here and by one on a server: what a budget reaches is whole for the first."""


def label(of: LabelStudy, member: Labelled, asked: OpenJudge, stage: Stage) -> None:
    """Describe, test and classify the features of a member in their order, and write what came of it."""
    study, plan, judge = of.study, label_plan(of), asked.judge
    asked.take_calls()
    ids = [int(feature) for feature in member.chosen.feature_id]
    keys = {"collection": stage.collection, "labelling": stage.key, "evidence": member.evidence.key}
    own = keys | {"layer": member.layer, "judge": judge.name}
    tables: dict[str, Rows] = defaultdict(list)
    with Progress("label", len(ids), "features", f"{member.slug}, {judge.name}") as progress:
        for batch in batches(ids, _together(asked, len(ids))):
            evidence, numbers = read_evidence(study.warehouse, stage.collection, member.evidence.key, batch)
            found = label_features(evidence, judge, plan, asked.describer, of.published.get(member.key))
            shown = {one.feature_id: one for one in evidence}
            made = label_rows(found, shown, numbers, plan.space)
            for table, rows in made.items():
                tables[table] += [row | own for row in rows]
            progress.advance(len(batch))
    made_of = {"collection": stage.collection, "labelling": stage.key}
    tables["llm_calls"] = [record.row() | made_of for record in asked.take_calls()]
    for table, rows in tables.items():
        if rows:
            stage.write(table, rows, sae=member.key)
    say("label", f"{member.slug} by {judge.name}: {told(tables)}")


def _together(asked: OpenJudge, n_features: int) -> int:
    if isinstance(asked.judge, FittedJudge):
        return max(n_features, 1)  # thresholds are those of the whole SAE, not of whoever is labelled beside a feature
    return TOGETHER if asked.calls is None else TOGETHER_BY_SERVER


def label_plan(of: LabelStudy) -> LabelPlan:
    """What is asked of each feature under the settings."""
    s = of.settings
    return LabelPlan(
        TrialPlan(n=s.n_trials, n_groups=s.n_trials, seed=s.seed),
        tuple(s.scorers),
        s.n_candidates,
        s.shuffled,
        of.label_space,
    )


def batches(ids: list[int], most: int) -> Iterator[list[int]]:
    """Features in shares of about equal size, so that no feature is alone if there are others."""
    for numbers in split_evenly(len(ids), -(-len(ids) // most)):
        yield [ids[i] for i in numbers]


def told(tables: Mapping[str, Rows]) -> str:
    """What came of it, in a line: how many are described, the mean of each test, and what got no answer."""
    described = sum(row["chosen"] for row in tables["feature_descriptions"])
    parts = [f"{described} feature{'s' * (described != 1)} described"]
    for scorer in dict.fromkeys(row["scorer"] for row in tables["description_scores"]):
        for control in ("none", "shuffled"):
            scores = [row["score"] for row in tables["description_scores"] if _is_whole(row, scorer, control)]
            if scores:
                name = scorer if control == "none" else f"{scorer} with another's description"
                parts.append(f"{name} {sum(scores) / len(scores):.2f} of {len(scores)}")
    calls, asked = tables.get("llm_calls", []), ("feature_descriptions", "detection_trials", "feature_labels")
    if rejected := sum(row["status"] == "rejected" for row in calls):
        parts.append(f"{rejected} of {len(calls)} repl{'ies' if len(calls) != 1 else 'y'} rejected")
    if unasked := sum(row["reason"] == BUDGET for table in asked for row in tables.get(table, [])):
        parts.append(f"{unasked} question{'s' * (unasked != 1)} not asked: the budget is spent")
    return ", ".join(parts)


def _is_whole(row: dict[str, Any], scorer: str, control: str) -> bool:
    same = (row["scorer"], row["control"], row["tier"]) == (scorer, control, "all")
    return same and row["score"] is not None
