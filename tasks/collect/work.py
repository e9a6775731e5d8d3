"""What a collection is made from, as every process takes it that makes a part of one."""

from dataclasses import dataclass

from ato.residuals.position_policies import parse_policy
from tasks.settings import CollectSettings, ModelSettings, OperatorSettings


@dataclass(frozen=True)
class CollectWork:
    """The settings that make a collection and its moments."""

    collection: str
    """Key of the collection."""
    model: ModelSettings
    settings: CollectSettings
    layers: tuple[int, ...]
    """To read, ascending."""
    operators: OperatorSettings
    """Name the pairs that moments are gathered for."""
    dtype: str
    """That the model must run in, by the collection's key."""

    def __str__(self) -> str:
        return self.collection


def attention_layers(settings: OperatorSettings) -> list[int]:
    """Blocks whose attention the position policy needs."""
    needed = parse_policy(settings.position_policy).needs_attention
    return sorted({target for _, target in settings.pairs}) if needed else []
