"""Pairing: features moved by attention are found by the right policy and by no other."""

import numpy as np
import pytest
import torch

from ato.errors import DataError, LayerError, NonFiniteError, SettingsError
from ato.moments import Moments
from ato.residuals import MemorySource, ResidualSource, run_pass
from ato.residuals.attended import Attended
from ato.residuals.pairing import PairedSource
from ato.residuals.position_policies import parse_policy, source_key
from tests.planted_pairs import LENGTH, N_FOLDS, PAIR, one_kept, planted, r2_under, two_kept

MOVES = {
    "previous": lambda rng, j: (np.array([max(j - 1, 0)]), np.ones(1)),
    "offset:3": lambda rng, j: (np.array([max(j - 3, 0)]), np.ones(1)),
    "attended": one_kept,
    "attended:2": two_kept,
}


@pytest.mark.parametrize("policy", MOVES)
def test_a_moved_feature_is_carried_under_its_own_policy_and_no_other(policy):
    source = planted(move=MOVES[policy])
    assert r2_under(source, policy) > 0.999
    wrong = {"attended": ["same", "previous", "shuffled"], "attended:2": ["same", "offset:2", "shuffled:2"]}
    for other in wrong.get(policy, ["same", "offset:2"]):
        assert r2_under(source, other) < 0.35, other  # early tokens have few positions to choose from


def test_the_control_explains_what_chance_hits_explain():
    # A draw among j positions hits the attended one with chance 1/j: r2 of the best multiple is the mean of 1/j squared.
    chance = np.mean([1 / j for j in range(1, LENGTH)])
    assert r2_under(planted(300, move=one_kept), "shuffled") == pytest.approx(chance**2, abs=0.03)
    assert r2_under(planted(300), "same") > 0.999


def test_rows_are_those_of_a_plain_loop_over_tokens():
    source = planted(12, move=two_kept)
    everything = next(planted(12, move=two_kept).blocks())
    for policy in ("previous", "offset:4", "attended", "attended:2", "attended:3"):
        block = next(PairedSource(source, [PAIR, (4, 4)], policy).blocks())
        where = {(s, p): i for i, (s, p) in enumerate(zip(everything.sequence_id, everything.position))}
        expected, kept = [], []
        for i in range(everything.n):
            sequence, position = everything.sequence_id[i], everything.position[i]
            parsed = parse_policy(policy)
            if parsed.kind == "offset":
                sources = {position - parsed.offset: 1.0}
            else:
                attended = everything.attended[4]
                sources = dict(zip(attended.positions[i, : parsed.k], attended.weights[i, : parsed.k].astype(float)))
            found = {where[sequence, p]: w for p, w in sources.items() if (sequence, p) in where}
            if found:
                mean = sum(w * everything.residuals[1][row].double() for row, w in found.items())
                expected.append(mean / sum(found.values()))
                kept.append(i)
        torch.testing.assert_close(
            block.residuals[source_key(*PAIR, policy)].double(), torch.stack(expected), rtol=1e-5, atol=1e-6
        )
        assert torch.equal(block.residuals[4], everything.residuals[4][kept])
        for name in ("sequence_id", "position", "token_id", "document", "group"):
            np.testing.assert_array_equal(getattr(block, name), getattr(everything, name)[kept])


def test_same_passes_blocks_through_bit_for_bit():
    source = planted(move=two_kept)
    paired = PairedSource(source, [PAIR], "same")
    assert isinstance(paired, ResidualSource)
    assert paired.layers == PAIR
    assert source_key(*PAIR, "same") == 1
    for ours, theirs in zip(paired.blocks(), source.blocks(PAIR), strict=True):
        assert ours.layers == theirs.layers
        assert all(torch.equal(ours.residuals[layer], theirs.residuals[layer]) for layer in PAIR)
        assert all(np.array_equal(getattr(ours, n), getattr(theirs, n)) for n in ("position", "document", "group"))
    assert not paired.unpaired


def test_rows_do_not_depend_on_their_order_on_block_size_or_on_the_layers_asked_for():
    source = planted(20, move=two_kept)
    whole = next(source.blocks())
    order = np.random.default_rng(1).permutation(whole.n)
    turned = MemorySource(
        {layer: x[order] for layer, x in whole.residuals.items()},
        document=whole.document[order],
        group=whole.group[order],
        n_folds=N_FOLDS,
        position=whole.position[order],
        attended={4: Attended(whole.attended[4].positions[order], whole.attended[4].weights[order])},
    )
    for policy in ("offset:2", "attended:2", "shuffled:2"):
        key = source_key(*PAIR, policy)
        straight = next(PairedSource(source, [PAIR], policy).blocks())
        block = next(PairedSource(turned, [PAIR], policy).blocks())
        back = np.lexsort((block.position, block.sequence_id))
        torch.testing.assert_close(block.residuals[key][back], straight.residuals[key])
        only = next(PairedSource(source, [PAIR], policy).blocks(layers=[key]))
        assert only.layers == (key,)
        assert torch.equal(only.residuals[key], straight.residuals[key])


def test_tokens_without_a_source_are_dropped_and_counted_by_split():
    source = planted(20, move=two_kept)  # 12 train, 4 val, 4 test documents; position 0 is left out
    paired = PairedSource(source, [PAIR], "offset:5")
    assert sum(block.n for block in paired.blocks()) == 20 * 14
    assert paired.unpaired == {"train": 60, "val": 20, "test": 20}
    list(paired.blocks(splits=["test"]))
    assert paired.unpaired == {"train": 60, "val": 20, "test": 20}


def test_a_token_that_attends_to_no_kept_token_is_dropped():
    block = next(planted(5, move=two_kept).blocks())
    block.attended[4].positions[7], block.attended[4].weights[7] = -1, 0
    block.attended[4].positions[8, 0] = 0  # position 0 is not kept; the second position is
    source = MemorySource(
        block.residuals,
        document=block.document,
        group=block.group,
        n_folds=N_FOLDS,
        position=block.position,
        attended=block.attended,
    )
    for policy, rows in (("attended:2", [7]), ("attended", [7, 8]), ("shuffled", [7, 8])):
        paired = PairedSource(source, [PAIR], policy)
        (found,) = paired.blocks()
        missing = set(zip(block.sequence_id, block.position)) - set(zip(found.sequence_id, found.position))
        assert missing == {(block.sequence_id[row], block.position[row]) for row in rows}
        assert paired.unpaired.total() == len(rows)


def test_several_pairs_share_one_source_and_attended_keys_tell_targets_apart():
    source = planted(10, move=two_kept)
    block = next(source.blocks())
    other = Attended(block.attended[4].positions[:, ::-1].copy(), block.attended[4].weights[:, ::-1].copy())
    both = MemorySource(
        block.residuals | {6: block.residuals[1]},
        document=block.document,
        group=block.group,
        n_folds=N_FOLDS,
        position=block.position,
        attended=block.attended | {6: other},
    )
    pairs = [(1, 4), (1, 6), (4, 6)]
    shared = PairedSource(both, pairs, "attended:3")
    keys = [source_key(*pair, "attended:3") for pair in pairs]
    assert len({*keys, 4, 6}) == 5
    assert source_key(1, 4, "previous") == source_key(1, 6, "previous") != 1
    for block in shared.blocks():
        assert set(block.layers) == {*keys, 4, 6}
        for pair, key in zip(pairs, keys):
            alone = next(PairedSource(both, [pair], "attended:3").blocks())
            torch.testing.assert_close(block.residuals[key], alone.residuals[key])


def test_a_token_without_a_source_for_one_of_the_targets_is_dropped_for_all():
    block = next(planted(5, move=two_kept).blocks())
    other = Attended(block.attended[4].positions.copy(), block.attended[4].weights.copy())
    other.positions[7], other.weights[7] = -1, 0
    source = MemorySource(
        block.residuals | {6: block.residuals[1]},
        document=block.document,
        group=block.group,
        n_folds=N_FOLDS,
        position=block.position,
        attended={4: block.attended[4], 6: other},
    )
    paired = PairedSource(source, [PAIR, (1, 6)], "attended")
    assert sum(found.n for found in paired.blocks(layers=[4])) == block.n - 1
    assert paired.unpaired.total() == 1


def test_draws_are_uniform_distinct_and_the_same_in_every_pass():
    n = 4000
    x = torch.arange(8).repeat(n)[:, None].float() @ torch.ones(1, 2)  # x is its own position
    document = np.repeat(np.arange(n), 8)
    positions = np.tile(np.arange(3)[::-1], (8 * n, 1)).astype(np.int32)
    weights = np.tile(np.float32([0.8, 0.15, 0.05]), (8 * n, 1))
    positions[np.tile(np.arange(8), n) < 2] = -1, -1, -1  # tokens 0 and 1 have too few candidates for three
    positions[np.tile(np.arange(8), n) < 2, 0] = 0
    source = MemorySource(
        {1: x, 4: x}, document=document, position=np.tile(np.arange(8), n), attended={4: Attended(positions, weights)}
    )
    paired = PairedSource(source, [PAIR], "shuffled:3")
    key = source_key(*PAIR, "shuffled:3")
    drawn = torch.cat([block.residuals[key][:, 0] for block in paired.blocks()]).numpy().reshape(n, 8)
    again = torch.cat([block.residuals[key][:, 0] for block in paired.blocks()]).numpy().reshape(n, 8)
    np.testing.assert_array_equal(drawn, again)
    other = torch.cat([b.residuals[key][:, 0] for b in PairedSource(source, [PAIR], "shuffled:3", seed=1).blocks()])
    assert (other.numpy().reshape(n, 8)[:, 7] != drawn[:, 7]).mean() > 0.9
    # At position 2 the three candidates come in every order: six values of the weighted mean, equally often.
    values, counts = np.unique(drawn[:, 2].round(4), return_counts=True)
    assert len(values) == 6
    assert ((counts - n / 6) ** 2 / (n / 6)).sum() < 20.5  # chi-square, 5 degrees of freedom, 0.999
    assert np.ptp(drawn[:, 0]) == 0
    _, counts = np.unique(drawn[:, 1], return_counts=True)  # one position, 0 or 1
    assert len(counts) == 2
    assert abs(counts[0] - n / 2) < 4 * np.sqrt(n / 4)
    assert drawn[:, 7].mean() == pytest.approx(3.5, abs=0.1)


def test_an_offset_beyond_every_sequence_names_the_policy():
    paired = PairedSource(planted(5), [PAIR], f"offset:{LENGTH}")
    with pytest.raises(DataError, match=r"no token has a source token \(position policy offset:20\)"):
        list(paired.blocks())


def test_attention_that_was_not_collected_is_named_with_the_cure():
    with pytest.raises(LayerError, match=r"attention of blocks \[1\] .*collect.attention_layers=\[1\].*=eager"):
        list(PairedSource(planted(5), [(4, 1)], "attended").blocks())
    with pytest.raises(SettingsError, match=r"9 attended positions.*3 stored.*attention_top_k=9"):
        list(PairedSource(planted(5), [PAIR], "attended:9").blocks())
    with pytest.raises(LayerError, match="are in no pair"):
        PairedSource(planted(5), [PAIR], "attended").blocks(layers=[7])


def test_infinite_residuals_are_named_by_their_own_layer():
    source = planted(5)
    next(iter(source._all.residuals.values()))[3, 1] = torch.inf
    with pytest.raises(NonFiniteError, match="at layer 1 "):
        list(PairedSource(source, [PAIR], "previous").blocks())


def test_moments_under_a_policy_survive_their_file(tmp_path):
    key = source_key(*PAIR, "attended:2")
    moments = Moments([(key, 4)], n_folds=N_FOLDS)
    run_pass(PairedSource(planted(move=two_kept), [PAIR], "attended:2"), [moments])
    moments.save(tmp_path / "moments.safetensors")
    back = Moments.load(tmp_path / "moments.safetensors")
    assert back.pairs == ((key, 4),)
    np.testing.assert_array_equal(back.cross(key, 4, ["test"]), moments.cross(key, 4, ["test"]))
