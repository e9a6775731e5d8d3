"""A budget of calls, tokens and money: an upper bound is reserved before each call, and what it took is settled after."""

import threading
from dataclasses import dataclass

from ato.errors import SettingsError


@dataclass(frozen=True)
class Prices:
    """Money per million tokens, in whatever currency the budget is."""

    prompt: float = 0.0
    completion: float = 0.0


@dataclass(frozen=True)
class Usage:
    """What calls took, or may take at most."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: "Usage") -> "Usage":
        return self + Usage(-other.calls, -other.prompt_tokens, -other.completion_tokens)

    @property
    def tokens(self) -> int:
        """Of prompts and completions."""
        return self.prompt_tokens + self.completion_tokens

    def cost(self, prices: Prices) -> float:
        """Money."""
        return (self.prompt_tokens * prices.prompt + self.completion_tokens * prices.completion) / 1e6


class BudgetExhausted(Exception):
    """The next call might exceed the budget."""


@dataclass(frozen=True)
class Limits:
    """What may be spent; None: as much as it takes.

    Raises:
        SettingsError: a limit is negative.
    """

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for name in ("calls", "tokens", "money"):
            if (limit := getattr(self, name)) is not None and not limit >= 0:
                raise SettingsError(f"the budget of {name} is {limit}", cure="use 0 or more, or leave it out")

    def allow(self, usage: Usage, prices: Prices) -> bool:
        """Whether so much is within all limits."""
        taken = {"calls": usage.calls, "tokens": usage.tokens, "money": usage.cost(prices)}
        return all((limit := getattr(self, name)) is None or spent <= limit for name, spent in taken.items())


class Budget:
    """What is left of the limits; safe for several threads.

    A call that would fit if those under way took nothing waits for them: they seldom take what was reserved.

    Args:
        limits: what may be spent.
        prices: of tokens.
        spent: before.
    """

    def __init__(self, limits: Limits = Limits(), prices: Prices = Prices(), spent: Usage = Usage()):
        self.limits, self.prices = limits, prices
        self._spent, self._reserved, self._changed = spent, Usage(), threading.Condition()

    @property
    def spent(self) -> Usage:
        """What settled calls took."""
        return self._spent

    def reserve(self, most: Usage) -> None:
        """Set aside what a call may take at most.

        Raises:
            BudgetExhausted: it may take more than is left.
        """
        with self._changed:
            while not self.limits.allow(self._spent + self._reserved + most, self.prices):
                if not self._reserved.calls or not self.limits.allow(self._spent + most, self.prices):
                    raise BudgetExhausted
                self._changed.wait()
            self._reserved += most

    def settle(self, most: Usage, taken: Usage) -> None:
        """Replace what was reserved by what was taken."""
        with self._changed:
            self._reserved -= most
            self._spent += taken
            self._changed.notify_all()
