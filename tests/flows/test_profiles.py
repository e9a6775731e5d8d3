"""Profiles and presets: each is valid, and the study's own numbers are what it published."""

import pytest

from ato.errors import SettingsError
from ato.models.shapes import KNOWN
from flows.estimates.sizes import sae_widths
from flows.presets import apply_preset, preset_names
from flows.settings import PROFILES, Settings, load_settings, profile_names, profile_values
from tasks.settings import CausalSettings

STUDY = "gemma-2-2b"
RIDGE_GRID = [0.1, 1, 10, 100, 1000, 2000, 5000, 10000]
STUDY_SETS = ["10,50,70,100,120", "11,51,71,101,121", "12,52,72,102,122"]


def test_the_models_of_the_study_and_of_its_peers_have_profiles():
    assert {"demo", STUDY, "gemma-2-9b", "gpt2", "pythia-160m"} <= set(profile_names())


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_fits_its_model_and_says_in_its_first_line_what_it_is(name):
    settings = load_settings(name)
    shape = KNOWN[settings.model.name]
    assert (PROFILES / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")
    assert max(settings.layers) < shape.n_layers
    assert max(settings.evaluate.ranks) <= shape.d_model
    assert {target for _, target in settings.operators.pairs} & set(sae_widths(settings))


@pytest.mark.parametrize("name", [name for name in profile_names() if load_settings(name).saes.releases])
def test_released_saes_are_in_the_directory_of_sae_lens(name):
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    directory = get_pretrained_saes_directory()
    settings = load_settings(name)
    for layer, address in settings.saes.releases.items():
        release, sae_id = address.split(":", 1)
        assert sae_id in directory[release].saes_map, address
        assert directory[release].neuronpedia_id[sae_id] == settings.explain.ids[layer]


def test_the_study_collects_what_it_published():
    settings = load_settings(STUDY)
    collect = settings.collect
    assert (settings.model.name, settings.model.dtype) == ("google/gemma-2-2b", "float32")
    assert "SlimPajama" in collect.corpus
    assert (collect.n_tokens, collect.seq_len, collect.max_sequences_per_document) == (250_000, 256, 1)
    assert collect.prepend_bos
    assert not collect.skip_special
    assert not collect.skip_first
    assert collect.max_norm_multiple is None


def test_the_study_maps_leaps_one_to_ten_onto_layers_10_and_20():
    operators = load_settings(STUDY).operators
    assert sorted(operators.pairs) == sorted((target - k, target) for target in (10, 20) for k in range(1, 11))
    assert operators.alphas == RIDGE_GRID
    assert "ridge" in operators.methods


def test_the_study_selects_819_features_of_each_sae():
    settings = load_settings(STUDY)
    widths = sae_widths(settings)
    assert widths == {10: 16_384, 20: 16_384}
    assert {int(width * settings.features.top_percent / 100) for width in widths.values()} == {819}
    assert (settings.features.n_tokens, settings.features.candidate_percent) == (120_000, 15)


def test_the_study_takes_every_hundredth_rank_and_the_full_one():
    assert load_settings(STUDY).evaluate.ranks == [*range(1, 2304, 100), 2304]


def test_the_study_edits_100_sequences_at_three_sets_of_five_positions_at_single_ones_and_everywhere():
    causal = load_settings(STUDY).causal
    assert causal.n_sequences == 100
    assert causal.positions == [*STUDY_SETS, "10", "50", "100", "all"]
    assert causal == CausalSettings()


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("name", profile_names())
def test_a_preset_can_be_laid_over_every_profile(preset, name):
    assert isinstance(Settings.model_validate(apply_preset(profile_values(name), preset)), Settings)


def test_the_paper_preset_keeps_what_the_study_kept_and_tries_what_it_tried():
    settings = Settings.model_validate(apply_preset(profile_values("gpt2"), "paper"))
    assert settings.collect.max_norm_multiple is None
    assert settings.collect.prepend_bos
    assert not settings.collect.skip_first
    assert not settings.collect.skip_special
    assert settings.operators.alphas == RIDGE_GRID
    assert settings.operators.l1_alphas == [0.01, 0.1, 1, 10, 100]
    assert settings.operators.l1_ratios == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert {"ridge", "lasso", "elasticnet", "identity"} <= set(settings.operators.methods)
    assert settings.evaluate.ranks[:3] == [1, 101, 201]
    assert settings.causal.positions[:3] == STUDY_SETS


def test_a_preset_leaves_alone_what_it_does_not_name_and_changes_no_input():
    values = {"model": {"name": "m"}, "collect": {"n_tokens": 7, "seq_len": 32}, "saes": None}
    laid = apply_preset(values, "paper")
    assert laid["model"] == {"name": "m"}
    assert (laid["collect"]["n_tokens"], laid["collect"]["seq_len"]) == (7, 256)
    assert laid["saes"] == {}
    assert values == {"model": {"name": "m"}, "collect": {"n_tokens": 7, "seq_len": 32}, "saes": None}


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(SettingsError, match="paper"):
        apply_preset({}, "nonesuch")
