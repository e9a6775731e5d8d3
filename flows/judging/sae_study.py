"""Faults of the settings of stage ``sae_study``."""

from collections.abc import Iterator
from pathlib import Path

from ato.errors import AtoError, UnavailableError
from ato.models.shapes import ModelShape
from ato.models.sites import SITES
from ato.saes.pretrained import split_release
from ato.saes.training.transcoder_plan import TRAINABLE_TRANSCODERS
from flows.judging.faults import Fault
from flows.judging.layers import beyond_model
from flows.settings import Settings
from tasks.sae_study.tracking import check_tracking
from tasks.settings.sae_study import StudiedSAE


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Layers, widths, files, and how the SAEs are trained."""
    s = settings.studied_saes
    if not s.all_saes:
        yield Fault(
            "sae_study.architectures", s.architectures, "the study has no SAE", "name some, or list sae_study.saes"
        )
        return
    yield from _layers(settings, shape)
    yield from _saes(settings)
    yield from _training(settings)


def _layers(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    s = settings.studied_saes
    layers = sorted({layer for sae in s.all_saes for layer in (sae.layer, sae.source_layer) if layer is not None})
    wrong = list(beyond_model("sae_study.layers", layers, layers, shape))
    yield from wrong
    if not wrong and (missing := sorted(set(layers) - set(settings.layers))):
        why = f"layers {', '.join(map(str, missing))} are not among those that are collected, {settings.layers}"
        every = sorted({*settings.layers, *layers})
        yield Fault("sae_study.layers", layers, why, f"use some of these, or set collect.layers={every}")


def _saes(settings: Settings) -> Iterator[Fault]:
    s = settings.studied_saes
    for sae in s.all_saes:
        if sae.path is not None and sae.release is not None:
            yield Fault(
                "sae_study.saes", f"{sae.path}, {sae.release}", "one SAE has a path and a release", "leave one out"
            )
        elif sae.path is not None:
            if not Path(sae.path).expanduser().exists():
                yield Fault("sae_study.saes", sae.path, "there is no such file or folder", "check the path")
        elif sae.release is not None:
            try:
                split_release(sae.release)
            except AtoError as error:
                yield Fault("sae_study.saes", sae.release, error.what, error.cure or "write RELEASE:SAE_ID")
        if sae.is_transcoder or sae.skip:
            yield from _transcoder(sae)
        if sae.source_layer is not None:
            yield from _innovation(settings, sae, sae.source_layer)
        if sae.is_trained and sae.k > sae.d_sae:
            why = f"a {sae.architecture} SAE of {sae.d_sae} features cannot have {sae.k} active ones"
            yield Fault("sae_study.k", sae.k, why, f"use 1 to {sae.d_sae}")


def _transcoder(sae: StudiedSAE) -> Iterator[Fault]:
    """What a transcoder lacks, or has that transcoders have not."""
    named = f"{sae.architecture} at layer {sae.layer}"
    if sae.target_site is None:
        why = "an SAE has no connection past its features"
        yield Fault("sae_study.saes", named, why, "set site and target_site, or skip=false")
    elif sae.site is None:
        yield Fault("sae_study.saes", named, "a transcoder does not say what it reads", "set its site, such as mlp_in")
    elif SITES.index(sae.site) >= SITES.index(sae.target_site):
        why = f"{sae.site} does not come before {sae.target_site} in a layer"
        yield Fault("sae_study.saes", named, why, "read mlp_in and write mlp_out, say")
    if sae.release is not None:
        why = "transcoders are not fetched from sae-lens' directory"
        yield Fault("sae_study.saes", sae.release, why, "download it, and give its folder as path")
    if sae.is_trained and sae.architecture not in TRAINABLE_TRANSCODERS:
        why = f"a transcoder of architecture {sae.architecture} cannot be trained"
        yield Fault("sae_study.saes", named, why, f"use {' or '.join(TRAINABLE_TRANSCODERS)}")


def _innovation(settings: Settings, sae: StudiedSAE, source: int) -> Iterator[Fault]:
    """What an innovation SAE lacks, or has that innovation SAEs have not."""
    operators, pair = settings.operators, (source, sae.layer)
    named = f"{sae.architecture} of layer {sae.layer} less {sae.method} of layer {source}"
    if sae.site is not None or sae.target_site is not None:
        why = "operators are of the collection's site"
        yield Fault("sae_study.saes", named, why, "leave site and target_site out")
    if not sae.is_trained:
        why = "innovation SAEs are trained here, and not read from files"
        yield Fault("sae_study.saes", named, why, "leave path and release out")
    if source >= sae.layer:
        yield Fault("sae_study.saes", named, "its source layer is not an earlier one", "set a smaller source_layer")
    elif sae.operator is None:
        if operators.position_policy != "same":
            why = f"with operators.position_policy={operators.position_policy} x is not of the same token"
            yield Fault("sae_study.saes", named, why, "use same, or name an operator by its key")
        if pair not in operators.pairs:
            cure = f"add {source} to operators.source_layers and {sae.layer - source} to operators.leaps"
            yield Fault("sae_study.saes", named, "the study has no operator of this pair of layers", cure)
        if sae.method not in operators.methods:
            cure = f"add {sae.method} to operators.methods"
            yield Fault("sae_study.saes", named, f"no operator is fitted by {sae.method}", cure)


def _training(settings: Settings) -> Iterator[Fault]:
    t = settings.studied_saes.training
    if any(sae.is_trained and sae.is_transcoder for sae in settings.studied_saes.all_saes):
        if t.dead_features == "resample":
            why = "dead features of transcoders are not resampled"
            yield Fault("sae_study.training.dead_features", t.dead_features, why, "use auxiliary or none")
        if t.held_out_every is not None:
            why = "the training of transcoders is not stopped early"
            yield Fault("sae_study.training.held_out_every", t.held_out_every, why, "leave it out")
    if not any(sae.is_trained for sae in settings.studied_saes.all_saes):
        return
    try:
        check_tracking(t.track)
    except UnavailableError as error:
        yield Fault("sae_study.training.track", t.track, error.what, error.cure or "leave it out")
    if t.buffer_rows < 2 * t.batch_size:
        why = f"it must hold two batches of sae_study.training.batch_size={t.batch_size}"
        yield Fault("sae_study.training.buffer_rows", t.buffer_rows, why, f"use at least {2 * t.batch_size}")
    if t.n_tokens < t.batch_size:
        why = f"one step takes sae_study.training.batch_size={t.batch_size} tokens"
        yield Fault("sae_study.training.n_tokens", t.n_tokens, why, f"use at least {t.batch_size}, or smaller batches")
    if t.warm_up_share + t.decay_share > 1:
        why = f"with sae_study.training.warm_up_share={t.warm_up_share:g} they are more than all steps"
        yield Fault("sae_study.training.decay_share", t.decay_share, why, f"use at most {1 - t.warm_up_share:g}")
