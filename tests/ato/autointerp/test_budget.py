"""Budgets are never exceeded, whatever runs at once, and stop no call that would have fitted."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ato.autointerp.budget import Budget, BudgetExhausted, Limits, Prices, Usage
from ato.errors import SettingsError

MOST = Usage(1, 100, 20)


@pytest.mark.parametrize(
    ("limits", "calls"),
    [
        (Limits(), 50),
        (Limits(calls=3), 3),
        (Limits(calls=0), 0),
        (Limits(tokens=119), 0),
        (Limits(tokens=120 * 4), 4),
        (Limits(money=2e-3), 10),
        (Limits(calls=7, money=2e-3), 7),
    ],
)
def test_calls_stop_before_a_limit_would_be_exceeded(limits, calls):
    budget = Budget(limits, Prices(prompt=1, completion=5))  # 200 millionths a call
    made = 0
    for _ in range(50):
        try:
            budget.reserve(MOST)
        except BudgetExhausted:
            break
        budget.settle(MOST, MOST)
        made += 1
    assert made == calls
    assert limits.allow(budget.spent, budget.prices)


def test_what_calls_did_not_take_is_there_for_others():
    budget = Budget(Limits(tokens=300))
    for _ in range(18):  # 10 tokens each
        budget.reserve(MOST)
        budget.settle(MOST, Usage(1, 8, 2))
    budget.reserve(MOST)
    budget.settle(MOST, MOST)
    with pytest.raises(BudgetExhausted):
        budget.reserve(MOST)


def test_what_was_spent_before_counts():
    with pytest.raises(BudgetExhausted):
        Budget(Limits(calls=5), spent=Usage(5)).reserve(MOST)


def test_many_threads_never_exceed_a_budget_and_use_all_of_it():
    budget, now, most_seen = Budget(Limits(tokens=1000)), [0], [0]
    lock = threading.Lock()

    def call(_: int) -> bool:
        try:
            budget.reserve(MOST)
        except BudgetExhausted:
            return False
        with lock:
            now[0] += MOST.tokens
            most_seen[0] = max(most_seen[0], now[0] + budget.spent.tokens)
        time.sleep(0.0005)
        with lock:
            now[0] -= MOST.tokens
        budget.settle(MOST, Usage(1, 8, 2))
        return True

    with ThreadPoolExecutor(16) as pool:
        made = sum(pool.map(call, range(300)))
    assert made == (1000 - 120) // 10 + 1  # as one after the other: a call that does not fit waits for those under way
    assert budget.spent.tokens == 10 * made
    assert most_seen[0] <= 1000


@pytest.mark.parametrize("limits", [{"calls": -1}, {"tokens": -5}, {"money": float("nan")}])
def test_a_budget_below_nothing_is_refused(limits):
    with pytest.raises(SettingsError, match="use 0 or more"):
        Limits(**limits)
