"""The rate on ordinary text is a share of real positions that blocks and their order do not choose."""

import numpy as np
import pytest
import torch

from ato.entities.general_text import GeneralTextRate, PositionDraw
from ato.errors import MismatchError, SettingsError
from ato.residuals import ResidualBlock
from tests.ato.entities.planted_entities import TALKATIVE, make_sae, make_text

LAYER = 2


def make_block(n: int = 4000) -> ResidualBlock:
    zeros = np.zeros(n, dtype=np.int32)
    sequence, position = np.divmod(np.arange(n), 50)
    return ResidualBlock({LAYER: make_text(n)}, sequence, position.astype(np.int32), zeros, sequence, zeros)


def test_it_is_the_share_of_the_drawn_positions_with_the_latent_active():
    sae, block, draw = make_sae(), make_block(), PositionDraw(0.3, seed=2)
    found = GeneralTextRate(sae, LAYER, draw).update(block)
    mask = draw.mask(block.sequence_id, block.position)
    dense = sae.encode(block.residuals[LAYER][torch.from_numpy(mask)]).numpy()
    assert found.n_positions == mask.sum()
    np.testing.assert_allclose(found.rate(), (dense > 0).mean(0))
    assert not found.silent()[TALKATIVE]
    np.testing.assert_array_equal(found.silent(), found.rate() < 0.02)


def test_blocks_their_order_and_merging_draw_the_same_positions():
    sae, block, draw = make_sae(), make_block(), PositionDraw(0.3)
    whole = GeneralTextRate(sae, LAYER, draw).update(block).rate()
    parts = [np.isin(np.arange(4000), rows) for rows in np.array_split(np.random.default_rng(0).permutation(4000), 9)]
    streamed = GeneralTextRate(sae, LAYER, draw)
    for mask in parts:
        streamed.update(block.select(mask))
    first, second = (GeneralTextRate(sae, LAYER, draw).update(block.select(part)) for part in (parts[0], ~parts[0]))
    np.testing.assert_array_equal(streamed.rate(), whole)
    np.testing.assert_array_equal((first + second).rate(), whole)


def test_every_position_is_drawn_with_the_same_chance():
    sequence, position = np.divmod(np.arange(200_000), 100)
    mask = PositionDraw.about(20_000, 200_000).mask(sequence, position)
    assert mask.mean() == pytest.approx(0.1, abs=4 * (0.09 / 200_000) ** 0.5)
    by_position = mask.reshape(-1, 100).mean(0)
    assert np.abs(by_position - 0.1).max() < 5 * (0.09 / 2000) ** 0.5
    assert PositionDraw.about(100, 10).share == 1


def test_no_position_is_no_rate_of_zero():
    found = GeneralTextRate(make_sae(), LAYER, PositionDraw(1e-12)).update(make_block(50))
    assert np.isnan(found.rate()).all()
    with pytest.raises(SettingsError, match="no position"):
        found.silent()
    with pytest.raises(SettingsError, match="share"):
        PositionDraw(0.0)


def test_counts_of_different_draws_cannot_be_added():
    sae = make_sae()
    with pytest.raises(MismatchError):
        GeneralTextRate(sae, LAYER, PositionDraw(0.3)) + GeneralTextRate(sae, LAYER, PositionDraw(0.4))
