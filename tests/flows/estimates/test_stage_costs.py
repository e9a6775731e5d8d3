"""Work of the stages: counted by hand, and growing with what is asked for."""

import numpy as np
import pytest

from ato.io import embedded
from ato.models.shapes import KNOWN, ModelShape
from ato.operators.fitting import fit_operator
from flows.estimates.sae_study_costs import COMPILED_SECONDS, MAP_SECONDS, innovation_passes, sae_study_work
from flows.estimates.stage_costs import StageWork, collect_work, operators_work, work_of
from flows.settings import load_settings
from flows.stages import STAGES
from tasks.settings.sae_study import StudiedSAE
from tests.flows.tiny_study import tiny_settings

SHAPE = KNOWN[embedded.MODEL_NAME]


def test_operators_take_a_float64_matrix_each(tmp_path):
    tiny = tiny_settings(tmp_path, operators={"register_operators": False})
    rng = np.random.default_rng(0)
    operator = fit_operator(rng.normal(size=(300, 64)), rng.normal(size=(300, 64)), alphas=[1.0], cv_folds=2).operator
    operator.save(tmp_path / "operator.safetensors")
    disk = operators_work(tiny, ModelShape(5, 64, 100, 10**6)).disk_bytes
    files = len(tiny.operators.pairs) * len(tiny.operators.methods)
    assert disk == pytest.approx(files * (tmp_path / "operator.safetensors").stat().st_size, rel=0.2)


def test_the_forward_passes_of_the_collection_are_counted_by_hand():
    work = collect_work(load_settings("study-smollm2"), SHAPE)
    # 25 blocks, two operations a weight, 220,000 tokens; 9 layers and 20 pairs, the null on 60 % of the documents.
    assert work.forward == 220_000 * 2 * 25 * SHAPE.n_block_parameters
    assert work.product == pytest.approx(220_000 * 2 * 576**2 * (9 + 20 + 0.6 * (5 + 8 + 20)), rel=0.15)


@pytest.mark.parametrize(
    ("override", "stage", "grows"),
    [
        ("collect.n_tokens=440000", "collect", "forward"),
        ("saes.n_tokens=1200000", "saes", "device_moved"),
        ("features.candidate_percent=50", "features", "forward"),
        ("operators.methods=[ridge, elasticnet]", "operators", "solve"),
        ("operators.leaps=[1, 2, 3, 4, 6, 8]", "evaluate", "host_product"),
        ("causal.n_sequences=500", "causal", "forward"),
    ],
)
def test_more_is_more_work(override, stage, grows):
    before, after = (work_of(STAGES[stage].cost, load_settings("study-smollm2", o), SHAPE) for o in ([], [override]))
    assert getattr(after, grows) > getattr(before, grows)


def test_maps_of_features_are_counted_where_they_are_made():
    settings = load_settings("demo-saes")
    looking = settings.sae_study.looking.model_copy(update={"map_method": "pca"})
    without = settings.model_copy(update={"sae_study": settings.sae_study.model_copy(update={"looking": looking})})
    assert sae_study_work(without, SHAPE).seconds == 0
    # ten kinds, of each one seed, of 1,024 features
    assert sae_study_work(settings, SHAPE).seconds == pytest.approx(COMPILED_SECONDS + MAP_SECONDS * 10 * 1024)


def test_innovation_saes_are_more_passes_and_what_is_not_looked_at_has_no_map():
    settings = load_settings("demo-innovation")
    study = settings.sae_study
    plain = [sae for sae in study.saes if not sae.is_innovation]
    without = settings.model_copy(update={"sae_study": study.model_copy(update={"saes": plain})})
    assert sae_study_work(settings, SHAPE).forward > sae_study_work(without, SHAPE).forward
    assert sae_study_work(settings, SHAPE).seconds == 0


def test_passes_of_innovation_saes_are_those_of_their_comparisons():
    made = {"architecture": "topk", "d_sae": 24, "k": 3}
    innovation = StudiedSAE(layer=3, source_layer=2, **made)
    others = [StudiedSAE(layer=3, **made | {"d_sae": width}) for width in (24, 32)]
    unlike = [StudiedSAE(layer=3, **made | {"k": 4}), StudiedSAE(layer=2, **made)]

    def passes(*saes):
        study = load_settings("demo-innovation").sae_study
        return innovation_passes(study.model_copy(update={"saes": list(saes), "layers": []}))

    assert passes(*others, *unlike) == 0
    assert passes(innovation, *unlike) == 1  # the linear map
    # alone and in its chain: itself, the linear map, zero, nothing, and two plain ones
    assert passes(innovation, *others, *unlike) == 1 + 2 * 6


def test_transcoders_read_rows_of_two_sites_from_the_running_model():
    settings = load_settings("demo-transcoders")

    def work(**changes: object) -> StageWork:
        listed = enumerate(settings.sae_study.saes)  # seeds keep them apart
        saes = [sae.model_copy(update=changes | {"seed": seed}) for seed, sae in listed]
        own = settings.sae_study.model_copy(update={"saes": saes})
        return sae_study_work(settings.model_copy(update={"sae_study": own}), SHAPE)

    plain = {"site": None, "target_site": None, "skip": False}
    buffer = 4 * SHAPE.d_model * settings.sae_study.training.buffer_rows
    skips = 3 * 16 * SHAPE.d_model**2
    assert work().memory_bytes - work(**plain).memory_bytes == buffer + skips
    assert work(**plain | {"site": "mlp_out"}).forward > work(**plain).forward
