"""What a benchmark measures: one figure of ours, beside what it is compared with and the ratio that is aimed at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One figure. ``met`` is None where nothing is aimed at."""

    what: str
    """What was measured, with its sizes."""
    unit: str
    ours: float
    against: str | None = None
    """What it is compared with: a peer, a physical limit, or ourselves at another size."""
    reference: float | None = None
    ratio: float | None = None
    target: float | None = None
    at_least: bool = True
    """Whether the target is the least that the ratio should be, or the most."""
    why_missed: str = ""
    """Said where the target is missed: the reason, and what was tried."""

    @property
    def met(self) -> bool | None:
        """Whether the ratio keeps its target."""
        if self.target is None or self.ratio is None:
            return None
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target


def rate(
    what: str,
    unit: str,
    ours: float,
    against: str,
    reference: float,
    *,
    at_least: float | None = None,
    why_missed: str = "",
) -> Measurement:
    """A rate (tokens/s, bytes/s, FLOP/s) as a part of another."""
    return Measurement(what, unit, ours, against, reference, ours / reference, at_least, True, why_missed)


def speedup(
    what: str, seconds: float, against: str, reference: float, *, at_least: float | None = None, why_missed: str = ""
) -> Measurement:
    """Times faster than another way of doing the same."""
    return Measurement(what, "s", seconds, against, reference, reference / seconds, at_least, True, why_missed)


def growth(
    what: str,
    unit: str,
    ours: float,
    against: str,
    reference: float,
    *,
    at_most: float | None = None,
    why_missed: str = "",
) -> Measurement:
    """Cost over that of a smaller or an earlier piece of the same work."""
    return Measurement(what, unit, ours, against, reference, ours / reference, at_most, False, why_missed)


def within(what: str, unit: str, ours: float, *, at_most: float, why_missed: str = "") -> Measurement:
    """A cost that has an upper limit of its own: the ratio is the share of the limit that is used."""
    return Measurement(
        what, unit, ours, f"a limit of {at_most:g} {unit}", at_most, ours / at_most, 1.0, False, why_missed
    )


def plain(what: str, unit: str, ours: float) -> Measurement:
    """A figure by itself."""
    return Measurement(what, unit, ours)
