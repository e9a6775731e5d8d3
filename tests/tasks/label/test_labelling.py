"""What is said of a labelling in one line."""

from tasks.label.labelling import told


def test_what_was_rejected_and_what_the_budget_left_unasked_is_told():
    described = [{"chosen": True, "reason": None}, {"chosen": False, "reason": "budget"}]
    trials = [{"reason": reason} for reason in (None, "budget", "budget", "not valid JSON")]
    calls = [{"status": status} for status in ("answered", "rejected", "rejected")]
    tables = {"feature_descriptions": described, "detection_trials": trials, "description_scores": []}
    line = told(tables | {"llm_calls": calls})
    assert line == "1 feature described, 2 of 3 replies rejected, 3 questions not asked: the budget is spent"
    answered = {"feature_descriptions": described[:1], "detection_trials": [], "description_scores": []}
    assert told(answered) == "1 feature described"
