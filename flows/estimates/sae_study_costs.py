"""Work of a study of SAEs, counted as in ``flows.estimates.stage_costs``."""

from collections import Counter
from importlib.util import find_spec

from ato.models.shapes import ModelShape
from ato.sae_studies.baselines import BASELINES
from ato.saes.training.methods import TRAINABLE
from flows.estimates.sizes import TEST, TRAIN, kept_tokens
from flows.estimates.stage_costs import ADAM_BYTES, PASSED, StageWork, model_bytes
from flows.settings import Settings
from tasks.sae_study.attribution import ATTRIBUTED_TOKENS
from tasks.settings.sae_study import SAEStudySettings, StudiedSAE

MAP_SECONDS = 1.7e-3
"""A feature's place on a UMAP map and in clusters of three seeds: 7.1 s of one core for 4,096 features of width 576."""
COMPILED_SECONDS = 9.0
"""What UMAP compiles before the first map of a process."""


def sae_study_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Training of all SAEs, one encoding of all tokens by each, the spliced passes; of those looked at gradients and maps."""
    study, d, tokens = settings.studied_saes, shape.d_model, kept_tokens(settings)
    saes = study.all_saes
    trained = [sae for sae in saes if sae.is_trained]
    plain = [sae for sae in trained if not sae.is_transcoder]
    kinds = (
        len({(sae.layer, sae.site, sae.source_layer, sae.operator, sae.k) for sae in plain}) * len(BASELINES)
        if study.judging.baselines
        else 0
    )
    judged = study.judging.n_sequences * settings.collect.seq_len
    widest = max((sae.d_sae for sae in saes), default=0)
    layer = min((sae.layer for sae in saes), default=0)
    above = shape.forward_flops(shape.n_layers - layer - 1, logits=True)
    spliced = 1 + len({sae.layer for sae in saes}) + len(saes) + kinds + innovation_passes(study)
    seeds = max(len(study.seeds), 1)
    looked = len(saes) - len(trained)
    looked += (
        -(-len(plain) // seeds)
        if study.looking.seeds is None
        else sum(sae.seed in study.looking.seeds for sae in plain)
    )
    # Other sites than the collection's are read from the model: for the training, baselines, the test and looks at SAEs.
    places = {(sae.layer, sae.site or settings.collect.site, sae.target_site) for sae in saes}
    elsewhere = [(at, target) for at, site, target in places if target is not None or site != settings.collect.site]
    train, test = TRAIN * tokens, TEST * tokens
    read = max(train, study.training.n_tokens) if train > study.training.buffer_rows else train
    read += train * study.judging.baselines + test
    transcoders = [sae for sae in trained if sae.is_transcoder]
    row = 4 * d * (2 if transcoders else 1)
    mapped = looked > 0 and study.looking.map_method != "pca" and find_spec("umap") is not None
    traced = study.looking.attribution_sequences * ATTRIBUTED_TOKENS
    costs = [training_cost(sae, settings.studied_saes.training.batch_size, d) for sae in trained]
    snapshots = looked * study.training.n_snapshots
    return StageWork(
        forward=study.training.n_tokens * sum(flops for flops, _ in costs)
        + sum((read + test * (target is None)) * shape.forward_flops(at + 1, logits=False) for at, target in elsewhere)
        + judged * (shape.forward_flops(shape.n_layers, logits=True) + spliced * above)
        + looked * traced * (3 + study.looking.attribution_features) * above,
        host_product=sum(2 * d * sae.d_sae for sae in saes) * tokens
        + kinds * 2 * d * widest * tokens
        + snapshots * 2 * d * widest * tokens * TEST,
        device_moved=study.training.n_tokens * sum(moved for _, moved in costs)
        + judged * spliced * PASSED * shape.vocabulary,
        seconds=COMPILED_SECONDS + MAP_SECONDS * looked * widest if mapped else 0,
        memory_bytes=model_bytes(settings, shape)
        + sum(16 * (2 * d * sae.d_sae + d * d * sae.skip) for sae in trained)
        + row * study.training.buffer_rows,
        disk_bytes=sum(4 * 2 * d * sae.d_sae for sae in saes) + snapshots * 8 * d * widest,
    )


def innovation_passes(study: SAEStudySettings) -> int:
    """Passes over the judged sequences that innovation SAEs take beside the one that each SAE has.

    The linear map of each place; then each innovation SAE alone, and the layers that it stands on with it, in place of which
    come itself, T x + b, zero, nothing, and each plain SAE of its layer, architecture, k and seed.
    """
    trained = [sae for sae in study.all_saes if sae.is_trained]
    plain = Counter(_alike(sae) for sae in trained if not (sae.is_innovation or sae.is_transcoder or sae.site))
    innovations = [sae for sae in trained if sae.is_innovation]
    compared = sum(2 * (plain[_alike(sae)] + 4) for sae in innovations if plain[_alike(sae)])
    places = {(sae.layer, sae.source_layer, sae.operator, sae.method) for sae in innovations}
    return compared + len(places) * study.judging.baselines


def _alike(sae: StudiedSAE) -> tuple[int, str, int, int]:
    return sae.layer, sae.architecture, sae.k, sae.seed


def training_cost(sae: StudiedSAE, batch_size: int, d: int) -> tuple[float, float]:
    """FLOPs and bytes moved per token of its training."""
    weights, kind = 2 * d * sae.d_sae, TRAINABLE[sae.architecture]
    gathered = 4 * kind.decoder_gathers * sae.k * d
    moved = ADAM_BYTES * weights / batch_size + kind.dense_passes * PASSED * sae.d_sae + gathered
    return kind.dense_products * weights, moved
