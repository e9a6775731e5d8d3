"""Transcoder adapters as a source of features: read from the checkpoint's own model, with the adapter beside its MLPs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ato.errors import MismatchError
from ato.models import LanguageModel
from ato.residuals import ResidualSource
from ato.saes.adapter import TranscoderAdapter, adapted
from ato.saes.adapter_files import load_adapter
from tasks.collect.sources import live_source
from tasks.engine.model_cache import language_model
from tasks.engine.study import Study
from tasks.label.stages import SITE_OF_ADAPTERS


@dataclass(frozen=True)
class AdaptedModel:
    """The model of a checkpoint at work, and what its features read."""

    lm: LanguageModel
    adapter: TranscoderAdapter
    source: ResidualSource


@contextmanager
def adapted_model(study: Study, folder: str, layers: Sequence[int]) -> Iterator[AdaptedModel]:
    """Inside, the adapter stands beside the MLPs of its model, which reads the texts of the collection.

    Args:
        study: whose texts are read.
        folder: the checkpoint.
        layers: whose MLPs' inputs are read.

    Raises:
        SAEError, DamagedFileError: no adapter there, or weights that cannot be used.
        MismatchError: the checkpoint splits text into other tokens than the collection's model.
    """
    tokenizer = language_model(study.model).tokenizer
    lm = language_model(study.model.model_copy(update={"name": folder, "revision": None}))
    if lm.tokenizer.get_vocab() != tokenizer.get_vocab():
        cure = "collect with the adapter's checkpoint as the model, or use an adapter of this model"
        what = f"its tokens are not those of the collection's model {study.row.model}"
        raise MismatchError(what, where=folder, cure=cure)
    adapter = load_adapter(folder).to(lm.device)
    with adapted(lm.parts, adapter):
        yield AdaptedModel(lm, adapter, live_source(study, lm, layers, SITE_OF_ADAPTERS))
