"""The language model of this process, loaded once and shared by every task that runs it."""

from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING

from ato.errors import MismatchError
from tasks.engine.looking import work_ahead
from tasks.engine.progress import phase, say
from tasks.settings import ModelSettings
from warehouse.catalog.lookups import CollectionRow

if TYPE_CHECKING:
    import torch

    from ato.models import LanguageModel


@lru_cache(maxsize=1)
def language_model(settings: ModelSettings) -> "LanguageModel":
    """Load the model of the settings, self-check included; later calls with equal settings return the same object."""
    from ato.models import load_model

    work_ahead()
    say("model", f"loading {settings.name}")
    with phase("model", f"loading {settings.name}"):
        return load_model(
            settings.name,
            revision=settings.revision,
            device=settings.device,
            dtype=settings.dtype,
            attention=settings.attention,
            trust_remote_code=settings.trust_remote_code,
        )


def model_replicas(settings: ModelSettings) -> list["LanguageModel"]:
    """Copies of the model on the further devices that the settings name; none where they name one."""
    from ato.models import LanguageModel
    from ato.numerics.devices import choose_devices

    model = language_model(settings)
    return [
        LanguageModel(model.identity, deepcopy(model.module).to(device), model.tokenizer)
        for device in choose_devices(settings.device)[1:]
    ]


def check_same_model(collection: CollectionRow, settings: ModelSettings) -> None:
    """Raise MismatchError unless the settings name the model that a collection was made with."""
    from ato.models import identify

    found = identify(settings.name, settings.revision)
    if found.weights_hash != collection.weights_hash:
        raise MismatchError(
            f"the collection was made with model {collection.model} ({collection.weights_hash}), "
            f"the settings name {found.model} ({found.weights_hash})",
            where=collection.collection,
            cure="use the profile that made the collection, or collect again",
        )


def sae_device(model: ModelSettings) -> "torch.device":
    """Where SAEs read stored residuals: the model's CUDA device, else the CPU."""
    import torch

    from ato.numerics.devices import choose_device

    device = choose_device(model.device)
    return device if device.type == "cuda" else torch.device("cpu")
