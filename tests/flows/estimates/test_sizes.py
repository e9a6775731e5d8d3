"""Sizes of a study: those of a real run, and those worked out by hand."""

import pytest

from flows.estimates.sizes import activation_bytes, kept_tokens, moments_bytes, n_groups, sae_widths
from flows.settings import Settings, load_settings
from tests.flows.tiny_study import tiny_settings, write_corpus
from tests.tiny_models import save_tiny_model


@pytest.mark.slow
def test_activations_and_moments_of_a_real_run_take_the_disk_that_was_said(tmp_path, monkeypatch):
    from tasks.collect.task import collect_residuals
    from warehouse.catalog.catalog import rows

    d = 64  # wide enough for matrices to outweigh the names in their file
    save_tiny_model(tmp_path / "model", n_layers=5, d_model=d)
    write_corpus(tmp_path / "corpus.jsonl")
    tiny = tiny_settings(tmp_path)
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    collect_residuals.fn(tiny.model, tiny.collecting, tiny.layers, tiny.operators)
    found = rows(
        None,
        "select stage, sum(f.bytes)::bigint as n from (select stage, unnest(files) as f from stage_runs) "
        "where f.table_name in ('activations', 'artifacts') group by stage",
    )
    sizes = {row["stage"]: row["n"] for row in found}
    assert sizes["collect"] == pytest.approx(activation_bytes(tiny, d), rel=0.2)
    assert sizes["moments"] == pytest.approx(moments_bytes(tiny, d), rel=0.2)


def test_disk_of_the_study_are_worked_out_by_hand():
    settings = load_settings("gemma-2-2b")
    # 250,000 tokens at layers 0 to 20, 2304 float32 numbers and 20 bytes of keys each: 48.5 GB.
    assert activation_bytes(settings, 2304) == 250_000 * 21 * (4 * 2304 + 20)
    # 21 layers and 20 pairs in 5 folds, val, test and the 4 pieces that 10, 25, 50 and 75 % cut from folds.
    assert n_groups(settings) == 11
    # Chance: 20 sources, 2 targets and 20 pairs once.
    assert moments_bytes(settings, 2304) == 8 * 2304**2 * (41 * 11 + 42)


def test_moments_of_other_positions_and_without_chance():
    own = {"source_layers": [0, 1], "leaps": [1, 2], "train_fractions": [], "permutation_null": False}
    groups = 7  # five folds, val and test
    # Layers 0 to 3 and four pairs; sources 0, 1 and targets 1, 2, 3 apart; one kind of source row a pair.
    for policy, products in (("same", 4 + 4), ("previous", 2 + 3 + 4), ("attended:2", 4 + 3 + 4)):
        settings = Settings(operators=own | {"position_policy": policy})
        assert moments_bytes(settings, 10) == 800 * products * groups
    assert moments_bytes(Settings(operators=own | {"permutation_null": True}), 10) == 800 * (8 * groups + 2 + 3 + 4)


def test_a_cut_between_folds_divides_none():
    settings = Settings(operators={"train_fractions": [0.2, 0.4, 1.0]})
    assert n_groups(settings) == settings.collect.n_folds + 2


def test_dropping_first_positions_and_storing_nothing_saves_their_bytes():
    kept = Settings(collect={"n_tokens": 1280, "seq_len": 128})
    assert kept_tokens(kept) == 1270
    assert kept_tokens(Settings(collect={"n_tokens": 1280, "seq_len": 128, "skip_first": False})) == 1280
    assert activation_bytes(Settings(collect={"store_activations": False}), 576) == 0


@pytest.mark.parametrize(("named", "width"), [("16k", 16_384), ("65k", 65_536), ("131k", 131_072), ("1m", 1_048_576)])
def test_the_width_in_the_name_of_a_release_is_a_power_of_two(named, width):
    settings = load_settings(
        "demo", [f"saes.releases={{12: 'gemma-scope-2b-pt-res:layer_12/width_{named}/x'}}", "saes.layers=[]"]
    )
    assert sae_widths(settings) == {12: width}
