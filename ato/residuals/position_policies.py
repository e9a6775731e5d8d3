"""Position policies: which source position predicts a target position, and the keys that blocks hold its x under."""

import re
from dataclasses import dataclass

from ato.errors import SettingsError

POLICY_PATTERN = r"^(same|previous|offset:[1-9]\d*|(attended|shuffled)(:[1-9]\d*)?)$"
"""What the name of a policy looks like."""
_STRIDE = 1 << 16  # more layers than any model has
_PERMUTED = 1 << 40


@dataclass(frozen=True)
class PositionPolicy:
    """Where the source token of a target token stands; made by ``parse_policy``."""

    name: str
    """As it was written."""
    kind: str
    """``same``, ``offset``, ``attended`` or ``shuffled``."""
    offset: int = 0
    """The source stands this many positions earlier (kind ``offset``)."""
    k: int = 0
    """Source positions a token, averaged by their weights (kinds ``attended`` and ``shuffled``)."""

    @property
    def needs_attention(self) -> bool:
        """Whether blocks must bring the attended positions of the target layer."""
        return self.k > 0


def parse_policy(text: str) -> PositionPolicy:
    """The policy of a name:

    - ``same``: the token itself;
    - ``previous``, ``offset:m``: the token 1, or m, positions earlier;
    - ``attended``, ``attended:k``: the kept position that the token attends to most in the target block, averaged over
      heads, or the mean of the k such positions weighted by attention, weights renormalised to 1;
    - ``shuffled``, ``shuffled:k``: the control of ``attended``: as many positions with the same weights, but drawn
      uniformly, without replacement, among the kept positions up to the token's own.

    Raises:
        SettingsError: no such policy.
    """
    if not re.fullmatch(POLICY_PATTERN, text):
        cure = "choose same, previous, offset:m, attended, attended:k, shuffled or shuffled:k, with m and k from 1"
        raise SettingsError(f"unknown position policy {text!r}", cure=cure)
    kind, _, number = text.partition(":")
    if kind == "same":
        return PositionPolicy(text, kind)
    if kind in ("attended", "shuffled"):
        return PositionPolicy(text, kind, k=int(number or 1))
    return PositionPolicy(text, "offset", offset=int(number or 1))


def source_key(source: int, target: int, policy: PositionPolicy | str) -> int:
    """Under which key blocks hold x for a pair: the source layer for ``same``, else a number below 0.

    With attention the chosen tokens differ from target to target, and so do the keys.
    """
    policy = parse_policy(policy) if isinstance(policy, str) else policy
    if policy.kind == "same":
        return source
    return -(1 + source + _STRIDE * (1 + target)) if policy.needs_attention else -(1 + source)


def permuted_key(source: int) -> int:
    """Under which key ``PermutedSource`` holds x of a source layer, or of a ``source_key``."""
    return -_PERMUTED - source
