"""Faults of the model's settings and of those of stage ``collect``."""

from collections.abc import Iterator

from ato.errors import AtoError
from ato.models.shapes import ModelShape
from flows.judging.faults import Fault
from flows.judging.layers import beyond_model
from flows.judging.models import missing_model
from flows.judging.pairs import pairs_faults
from flows.settings import Settings
from warehouse.datasets.corpora import check_corpus


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Model and device, corpus, lengths, layers, attention."""
    yield from _model(settings)
    yield from _corpus(settings)
    yield from _lengths(settings, shape)
    c = settings.collect
    if c.layers is not None:
        yield from beyond_model("collect.layers", c.layers, c.layers, shape)
    yield from beyond_model("collect.attention_layers", c.attention_layers, c.attention_layers, shape)
    if c.attention_layers and settings.model.attention != "eager":
        why = "collect.attention_layers need attention weights"
        yield Fault("model.attention", settings.model.attention, why, "set model.attention=eager")
    if c.attention_layers and c.attention_top_k > c.seq_len:
        why = f"a token attends to at most collect.seq_len={c.seq_len} positions"
        yield Fault("collect.attention_top_k", c.attention_top_k, why, f"use 1 to {c.seq_len}")
    # The moments of the pairs are gathered in the same pass, so their layers and offsets count too.
    yield from pairs_faults(settings, shape)


def _model(settings: Settings) -> Iterator[Fault]:
    from ato.numerics.devices import choose_devices

    model = settings.model
    try:
        choose_devices(model.device)
    except AtoError as error:
        yield Fault("model.device", model.device, error.what, error.cure or "use auto")
    yield from missing_model("model.name", model.name)


def _corpus(settings: Settings) -> Iterator[Fault]:
    try:
        check_corpus(settings.collect.corpus)
    except AtoError as error:
        # A missing package of the embedded corpus is no fault of the settings, but stops the run just as well.
        named = "" if error.where == settings.collect.corpus else f" ({error.where})"
        yield Fault("collect.corpus", settings.collect.corpus, f"{error.what}{named}", error.cure or "check the path")


def _lengths(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    c = settings.collect
    if shape is not None and shape.context is not None and c.seq_len > shape.context:
        why = f"the model's context has {shape.context:,} tokens"
        yield Fault("collect.seq_len", c.seq_len, why, f"use at most {shape.context}")
    longest = c.seq_len - c.prepend_bos
    if c.min_len > longest:
        bos = " without the BOS token" if c.prepend_bos else ""
        why = f"sequences have at most {longest} tokens{bos} (collect.seq_len={c.seq_len})"
        yield Fault("collect.min_len", c.min_len, why, f"use at most {longest}")
        return
    least = (c.n_folds + 2) * c.min_len
    if c.n_tokens < least:
        why = f"{c.n_folds} folds, val and test need a document of collect.min_len={c.min_len} tokens each"
        yield Fault("collect.n_tokens", c.n_tokens, why, f"use at least {least}, better a hundred times as many")
