"""A planted "known" latent is found, survives every filter and transfers; random labels find nothing; length is caught."""

from dataclasses import replace

import numpy as np
import pytest

from ato.entities.baselines import check_length, linear_probe, oriented_auroc, score_baseline
from ato.entities.chosen import activations_of
from ato.entities.contrasts import chosen_on_other_types, cross_type_aurocs
from ato.entities.groups import EntityGroups
from ato.entities.latent_scores import LatentScores, best_latents
from ato.entities.matching import match_on_tokens
from ato.entities.nulls import Permutations, max_statistic_p
from ato.numerics.false_discovery import benjamini_hochberg
from tests.ato.entities.planted_entities import (
    D_SAE,
    FICKLE,
    PLANTED,
    TALKATIVE,
    make_groups,
    make_residuals,
    make_sae,
    make_text,
)

SAE = make_sae()


@pytest.fixture(scope="module")
def groups() -> EntityGroups:
    return make_groups()


@pytest.fixture(scope="module")
def scores(groups) -> LatentScores:
    return scored(groups, make_residuals(groups), Permutations(199))


@pytest.fixture(scope="module")
def silent() -> np.ndarray:
    """Latents that the filter on ordinary text keeps."""
    return (SAE.encode(make_text()) > 0).float().mean(0).numpy() < 0.02


def scored(groups: EntityGroups, x, permutations: Permutations | None = None) -> LatentScores:
    found = LatentScores(D_SAE, groups, permutations)
    for rows in np.array_split(np.arange(groups.n), 3):
        found.update(rows, SAE.active(x[rows]))
    return found


def test_the_planted_latent_is_ranked_first_and_the_talkative_one_is_filtered(scores, silent):
    train = scores.scores("train")
    assert best_latents(train.strength)[:2].tolist() == [TALKATIVE, PLANTED]
    assert best_latents(train.strength, silent)[0] == PLANTED
    assert train.direction[PLANTED] == 1
    assert train.strength[FICKLE] < 0


def test_it_survives_permutation_and_correction(scores):
    observed = scores.scores().strength
    p = max_statistic_p(observed, scores.null_maxima().over_types)
    q = benjamini_hochberg(scores.fisher_p().over_types)
    found = {PLANTED, TALKATIVE}
    assert set(np.flatnonzero(p < 0.05)) == found
    assert set(np.flatnonzero(q < 0.05)) == found
    assert p[PLANTED] == 1 / 200


def test_it_separates_test_entities_and_transfers_across_types(groups, scores, silent):
    x = make_residuals(groups)
    held_out = scores.scores("test")
    assert held_out.strength[PLANTED] > 0.6
    within = oriented_auroc(activations_of(SAE, x, [PLANTED])[:, 0], groups, "test", 1)
    assert within.mean.low > 0.85
    choice = chosen_on_other_types(scores.scores("train").separation, direction=1, allowed=silent)
    assert choice.latent.tolist() == [PLANTED] * 3
    test = groups.members("test")
    found = cross_type_aurocs(
        activations_of(SAE, x, choice.latent)[test], choice, groups.label[test], groups.entity_type[test]
    )
    assert found.mean.low > 0.85
    assert (found.by_type.low > 0.75).all()


def test_a_latent_that_turns_round_on_one_type_is_chosen_without_it_and_fails_there(groups, scores, silent):
    choice = chosen_on_other_types(scores.scores("train").separation, direction=-1, allowed=silent)
    assert choice.latent[0] == FICKLE
    test = groups.members("test")
    activations = activations_of(SAE, make_residuals(groups), choice.latent)[test]
    found = cross_type_aurocs(activations, choice, groups.label[test], groups.entity_type[test])
    assert found.by_type.high[0] < 0.2


def test_a_latent_of_the_unknown_is_found_in_its_own_direction(groups):
    flipped = replace(groups, label=np.where(groups.label >= 0, 1 - groups.label, -1))
    train = scored(flipped, make_residuals(groups)).scores()
    assert train.direction[PLANTED] == -1
    assert best_latents(-train.separation_max)[:2].tolist() == [TALKATIVE, PLANTED]


def test_random_labels_find_nothing_over_twenty_seeds():
    areas, family_wise = [], 0
    for seed in range(20):
        groups = make_groups(n=500, seed=seed)
        x = make_residuals(groups, seed)
        rng = np.random.default_rng([seed, 9])
        shuffled = replace(groups, label=rng.permutation(groups.label), split=rng.permutation(groups.split))
        found = scored(shuffled, x, Permutations(99, seed))
        train = found.scores()
        fisher = found.fisher_p()
        assert np.nanmin(benjamini_hochberg(fisher.over_types)) >= 0.05
        family_wise += np.nanmin(max_statistic_p(train.strength, found.null_maxima().over_types)) <= 0.05
        best = best_latents(train.strength)[0]
        activations = activations_of(SAE, x, [best])[:, 0]
        areas.append(oriented_auroc(activations, shuffled, "test", int(train.direction[best])).mean.value)
    # The chance of at least one at 5 % is met in 20 seeds up to 4 times, in 99.7 % of such tests.
    assert family_wise <= 4
    assert abs(np.mean(areas) - 0.5) < 2 * np.std(areas, ddof=1) / 20**0.5


def test_labels_that_are_token_lengths_fire_the_confound_check(groups):
    rng = np.random.default_rng(0)
    n_tokens = rng.integers(1, 7, size=groups.n)
    by_length = replace(groups, label=(n_tokens <= 3).astype(int))
    unmatched = check_length(n_tokens, by_length)
    assert unmatched.confounded
    assert unmatched.auroc == pytest.approx(1)
    matched = check_length(n_tokens, by_length, match_on_tokens(by_length, n_tokens).mask)
    assert matched.confounded
    assert matched.auroc is None
    assert "no class is left" in matched.said
    assert score_baseline("n_tokens", n_tokens, by_length).orientation == -1


def test_labels_that_lean_on_token_lengths_are_mended_by_matching(groups):
    rng = np.random.default_rng(0)
    n_tokens = np.clip(rng.poisson(3, groups.n) + 2 * (groups.label == 0), 1, 8)
    assert check_length(n_tokens, groups).confounded
    found = check_length(n_tokens, groups, match_on_tokens(groups, n_tokens).mask)
    assert not found.confounded
    assert found.auroc == pytest.approx(0.5, abs=1e-9)
    assert found.said == ""


def test_the_probe_finds_the_planted_direction_and_nothing_under_random_labels(groups):
    x = make_residuals(groups).numpy()
    assert oriented_auroc(linear_probe(x, groups).scores, groups, "test", 1).mean.low > 0.9
    random = replace(groups, label=np.random.default_rng(1).permutation(groups.label))
    found = oriented_auroc(linear_probe(x, random).scores, random, "test", 1).mean
    assert found.low < 0.5 < found.high
