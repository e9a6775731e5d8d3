"""Position policies: which source position predicts a target position, and the keys that blocks hold its x under."""

import re
from dataclasses import dataclass, replace
from functools import total_ordering
from typing import Literal, TypeAlias

from ato.errors import SettingsError

POLICY_PATTERN = r"^(same|previous|offset:[1-9]\d*|(attended|shuffled)(:[1-9]\d*)?)$"
"""What the name of a policy looks like."""


@total_ordering
@dataclass(frozen=True)
class SourceKey:
    """Under which key blocks and moments hold x where it is not simply a layer: other tokens of it, chosen or permuted.

    Keys are sorted behind all plain layers.
    """

    source: int
    """Layer that x is taken from."""
    target: int | None = None
    """Layer whose tokens chose those of x, where the choice differs from target to target; None where it does not."""
    policy: Literal["same", "offset", "attended"] = "same"
    """What chose: ``attended`` stands for its control ``shuffled`` too."""
    permuted: bool = False
    """Whether x then comes from another document."""

    def __lt__(self, other: "Layer") -> bool:
        return isinstance(other, SourceKey) and self._order < other._order

    @property
    def _order(self) -> tuple[bool, str, int, int]:
        return self.permuted, self.policy, self.source, -1 if self.target is None else self.target

    def __str__(self) -> str:
        chosen = "" if self.policy == "same" else f" {self.policy}"
        chosen += "" if self.target is None else f" by {self.target}"
        return f"{self.source}{chosen}{' permuted' if self.permuted else ''}"


Layer: TypeAlias = int | SourceKey
"""What blocks and moments hold residuals under: a layer's number, or the key of chosen tokens of one."""


def layer_number(layer: Layer) -> int:
    """The number of the layer that residuals under a key are taken from."""
    return layer.source if isinstance(layer, SourceKey) else layer


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


def source_key(source: int, target: int, policy: PositionPolicy | str) -> Layer:
    """Under which key blocks hold x for a pair: the source layer itself for ``same``, else a ``SourceKey``.

    With attention the chosen tokens differ from target to target, and so do the keys.
    """
    policy = parse_policy(policy) if isinstance(policy, str) else policy
    if policy.kind == "same":
        return source
    return SourceKey(source, target, "attended") if policy.needs_attention else SourceKey(source, policy="offset")


def permuted_key(source: Layer) -> SourceKey:
    """Under which key ``PermutedSource`` holds x of a source layer, or of a ``source_key``."""
    return replace(source, permuted=True) if isinstance(source, SourceKey) else SourceKey(source, permuted=True)
