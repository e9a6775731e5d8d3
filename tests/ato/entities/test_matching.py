"""Matched classes have equal token counts; control latents are alike, others, and the same again."""

from dataclasses import replace

import numpy as np
import pytest

from ato.entities.matching import LatentTraits, match_on_tokens, matched_latents, random_directions
from ato.errors import InputError
from tests.ato.entities.planted_entities import make_groups


def test_every_stratum_keeps_as_many_of_each_class_and_no_more_than_must_go():
    groups = make_groups()
    n_tokens = np.random.default_rng(0).integers(1, 6, size=groups.n) + groups.label
    matched = match_on_tokens(groups, n_tokens)
    gone = [0, 0]
    for stratum in {*zip(groups.entity_type, groups.split, n_tokens)}:
        here = (np.stack([groups.entity_type, groups.split, n_tokens], axis=1) == stratum).all(axis=1)
        sizes = [(here & (groups.label == label)).sum() for label in (1, 0)]
        kept = [(here & (groups.label == label) & matched.mask).sum() for label in (1, 0)]
        assert kept == [min(sizes)] * 2
        gone = [g + s - k for g, s, k in zip(gone, sizes, kept)]
    assert matched.n_left_out == tuple(gone)
    assert not matched.mask[groups.label == -1].any()


def test_matching_does_not_depend_on_the_order_of_entities():
    groups = make_groups()
    n_tokens = np.random.default_rng(0).integers(1, 6, size=groups.n)
    order = np.random.default_rng(1).permutation(groups.n)
    shuffled = replace(groups, **{n: getattr(groups, n)[order] for n in ("entity_type", "label", "split", "key")})
    expected = match_on_tokens(groups, n_tokens).mask
    np.testing.assert_array_equal(match_on_tokens(shuffled, n_tokens[order]).mask, expected[order])
    assert (match_on_tokens(groups, n_tokens, seed=1).mask != expected).any()


def test_nobody_at_all_can_be_matched():
    groups = make_groups()
    none = groups.only(np.zeros(groups.n, dtype=bool))
    assert not match_on_tokens(none, np.ones(groups.n)).mask.any()
    empty = replace(groups, **{n: getattr(groups, n)[:0] for n in ("entity_type", "label", "split", "key")})
    assert match_on_tokens(empty, np.ones(0)).n_left_out == (0, 0)
    with pytest.raises(InputError, match="token counts"):
        match_on_tokens(groups, np.ones(3))


def test_control_latents_fire_about_as_often_with_about_that_norm_and_are_others():
    rng = np.random.default_rng(0)
    traits = LatentTraits(10 ** rng.uniform(-4, 0, 2000), rng.uniform(0.5, 2, 2000))
    traits.firing_rate[:300] = 0
    latent, excluded = 900, range(901, 920)
    found = matched_latents(traits, latent, n=20, seed=1, excluded=excluded)
    assert len({*found.latents.tolist()}) == 20
    assert not {latent, *excluded, *range(300)} & {*found.latents.tolist()}
    assert np.abs(np.log(found.rate_ratio)).max() < 0.6
    assert np.abs(np.log(found.norm_ratio)).max() < 0.6
    np.testing.assert_array_equal(matched_latents(traits, latent, 20, 1, excluded).latents, found.latents)
    assert {*matched_latents(traits, latent, 20, 2, excluded).latents.tolist()} != {*found.latents.tolist()}


def test_a_silent_latent_and_too_few_others_are_refused():
    traits = LatentTraits(np.array([0.0, 0.1, 0.2, 0.0]), np.ones(4))
    with pytest.raises(InputError, match="latent 0 fires on no entity"):
        matched_latents(traits, 0)
    with pytest.raises(InputError, match="only 1 other latents"):
        matched_latents(traits, 1, n=2)


def test_random_directions_are_units_and_the_same_again():
    found = random_directions(30, 200)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(found[:10], random_directions(10, 200))
    assert np.abs(found @ found.T - np.eye(30)).max() < 0.35
