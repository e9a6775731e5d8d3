"""Pairs of two sites: rows are those that each site gives alone, token by token."""

import numpy as np
import pytest
import torch

from ato.errors import SettingsError
from ato.models import load_model
from ato.residuals.exclusion import ExclusionPolicy
from ato.residuals.live import LiveSource, median_norms
from ato.residuals.site_pairs import SitePairs, split_pairs
from tests.tiny_models import save_tiny_model
from tests.tiny_models import sequences_of as sequences

LENGTHS = [9, 14, 1, 14, 6]


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def model(request, tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("model"), request.param, n_layers=2)
    return load_model(folder, device="cpu", dtype="float32")


def test_rows_are_those_of_both_sites_read_alone_with_the_same_tokens(model):
    own = sequences(LENGTHS)
    pairs = list(SitePairs(model, own, [0, 1], n_folds=2, batch_size=2).blocks([1]))
    for site, half in (("mlp_in", 0), ("mlp_out", 1)):
        alone = list(LiveSource(model, own, [0, 1], n_folds=2, batch_size=2, site=site).blocks([1]))
        assert len(alone) == len(pairs) == 3 - 1  # the sequence of one token has only a first position
        for block, expected in zip(pairs, alone):
            assert torch.equal(split_pairs(block.residuals[1], 32)[half], expected.residuals[1])
            assert np.array_equal(block.sequence_id, expected.sequence_id)
            assert np.array_equal(block.position, expected.position)


def test_rows_beyond_the_norm_limit_are_dropped_as_pairs(model):
    own = sequences(LENGTHS)
    plain = SitePairs(model, own, [1], n_folds=2)
    assert (plain.d_in, plain.d_out, plain.d_model) == (32, 32, 64)
    everything = plain.joined()
    median = median_norms([everything])
    strict = SitePairs(
        model, own, [1], n_folds=2, median_norm=median, policy=ExclusionPolicy(max_norm_multiple=1.0)
    ).joined()
    stay = everything.norm(1).numpy() <= median[1]
    assert 0 < stay.sum() < len(stay)
    assert torch.equal(strict.residuals[1], everything.residuals[1][torch.from_numpy(stay)])


def test_an_unknown_site_is_refused(model):
    with pytest.raises(SettingsError, match="unknown site 'mlp_mid'"):
        SitePairs(model, sequences([5]), [0], n_folds=2, sites=("mlp_mid", "mlp_out"))
