"""Moments of residuals: the additive statistics that operators and ceilings are computed from."""

from ato.moments.moments import Moments
from ato.moments.pair import PairMoments

__all__ = ["Moments", "PairMoments"]
