"""The latent of a type is chosen on the other types, and its AUROC is measured on that one."""

import numpy as np
import pytest

from ato.entities.contrasts import chosen_on_other_types, cross_type_aurocs
from ato.numerics.auroc import auroc
from tests.ato.numerics.test_auroc import drawn


def test_the_latent_of_a_type_is_chosen_on_the_other_types():
    separation = np.array([[0.9, 0.2, -0.5], [0.1, 0.3, -0.6], [0.2, 0.4, 0.9]])
    choice = chosen_on_other_types(separation)
    assert choice.latent.tolist() == [1, 0, 2]
    assert choice.direction.tolist() == [1, 1, -1]
    assert chosen_on_other_types(separation, direction=1).latent.tolist() == [1, 0, 1]
    none_fires_more_in_the_second_class = chosen_on_other_types(separation, direction=-1)
    assert none_fires_more_in_the_second_class.direction.tolist() == [0, 0, -1]
    assert none_fires_more_in_the_second_class.latent.tolist() == [-1, -1, 2]
    assert chosen_on_other_types(separation, allowed=np.array([True, False, True])).latent.tolist() == [0, 0, 2]


def test_one_type_has_no_cross_type_auroc():
    choice = chosen_on_other_types(np.array([[0.5, 0.7]]))
    assert choice.latent.tolist() == [-1]
    scores, labels = drawn()
    found = cross_type_aurocs(scores[:, None], choice, labels, np.zeros(300, dtype=int))
    assert np.isnan(found.by_type.value).all()
    assert found.mean.value is None


def test_cross_type_aurocs_read_the_column_of_the_type_in_its_direction():
    scores, labels = drawn()
    types = np.random.default_rng(1).integers(3, size=300)
    activations = np.stack([scores, -scores, np.ones(300)], axis=1)
    choice = chosen_on_other_types(np.array([[0.9, 0.2, -0.5], [0.1, 0.3, -0.6], [0.2, 0.4, 0.9]]), direction=None)
    choice.direction[1] = -1
    found = cross_type_aurocs(activations, choice, labels, types)
    for number in (0, 1):
        here = types == number
        assert found.by_type.value[number] == pytest.approx(auroc(scores[here], labels[here]))
    assert found.by_type.value[2] == 0.5
