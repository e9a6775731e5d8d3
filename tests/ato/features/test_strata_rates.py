"""Counts by stratum are those of the dense activations, and shares and densities are defined where they can be."""

import numpy as np
import pytest

from ato.errors import InputError, MismatchError
from ato.features.strata import Stratum, document_stratum, position_tenths, token_stratum
from ato.features.strata_rates import StrataRates
from tests.ato.features.planted_text import D_SAE, LAYER, LENGTH, N_SEQUENCES, SILENT, PlantedText, planted_text


@pytest.fixture(scope="module")
def text() -> PlantedText:
    return planted_text()


@pytest.fixture(scope="module")
def regions() -> dict[int, np.ndarray]:
    rng = np.random.default_rng(3)
    return {s: rng.integers(-1, 2, size=LENGTH) for s in range(0, N_SEQUENCES, 2)}


def strata(text: PlantedText, regions: dict[int, np.ndarray]) -> list[Stratum]:
    chat = token_stratum("region", ("question", "answer", "never"), regions)
    return [document_stratum("topic", text.topics), position_tenths(text.lengths), chat]


def rates(text: PlantedText, own: list[Stratum], *blocks) -> StrataRates:
    counted = StrataRates(D_SAE, own)
    for block in blocks:
        counted.update(block, text.sae.active(block.residuals[LAYER]))
    return counted


def test_counts_are_those_of_every_token_looked_at_alone(text, regions):
    found = rates(text, strata(text, regions), text.block).result()
    expected = {name: {} for name in found}
    for s in range(N_SEQUENCES):
        for p in range(LENGTH):
            if np.isnan(text.dense[s, p, 0]):
                continue
            parts = {"topic": text.topics.get(s // 2), "relative_position": f"{p // 3 * 10}-{p // 3 * 10 + 10}%"}
            parts["region"] = ("question", "answer", None)[regions[s][p]] if s in regions else None
            for name, value in parts.items():
                cell = expected[name].setdefault(value, [0, np.zeros(D_SAE, dtype=int)])
                cell[0] += 1
                cell[1] += text.dense[s, p] > 0
    for name, own in found.items():
        assert len(own.values) == {"topic": 3, "relative_position": 10, "region": 3}[name]
        for i, value in enumerate(own.values):
            n_tokens, n_active = expected[name].get(value, [0, np.zeros(D_SAE)])
            assert own.n_tokens[i] == n_tokens
            np.testing.assert_array_equal(own.n_active[:, i], n_active)


def test_density_and_share_are_missing_where_nothing_can_be_said(text, regions):
    found = rates(text, strata(text, regions), text.block).result()
    region = found["region"]
    assert np.isnan(region.density[:, 2]).all()
    np.testing.assert_array_equal(region.density[:, :2], region.n_active[:, :2] / region.n_tokens[:2])
    for own in found.values():
        fires = own.n_active.sum(axis=1) > 0
        np.testing.assert_allclose(own.share[fires].sum(axis=1), 1)
        assert np.isnan(own.share[SILENT]).all()


def test_order_of_blocks_and_merging_change_nothing(text, regions):
    own, parts = strata(text, regions), text.parts(6)
    whole = rates(text, own, text.block).result()
    merged = (rates(text, own, *parts[4:]) + rates(text, own, *parts[:4])).result()
    for name in whole:
        np.testing.assert_array_equal(merged[name].n_active, whole[name].n_active)
        np.testing.assert_array_equal(merged[name].n_tokens, whole[name].n_tokens)
    with pytest.raises(MismatchError):
        rates(text, own) + rates(text, own[:1])


def test_no_stratum_no_document_and_wrong_codes(text):
    assert rates(text, [], text.block).result() == {}
    nothing = rates(text, [document_stratum("topic", {})], text.block).result()["topic"]
    assert nothing.n_active.shape == (D_SAE, 0)
    constant = document_stratum("topic", dict.fromkeys(range(N_SEQUENCES), "one"))
    one = rates(text, [constant], text.block).result()["topic"]
    assert one.n_tokens.tolist() == [text.block.n]
    with pytest.raises(InputError, match="codes 0 to 2"):
        token_stratum("region", ("question", "answer"), {0: np.array([0, 2])})
