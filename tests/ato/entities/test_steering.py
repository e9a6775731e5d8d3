"""Changes of the residual are exact, at the positions of their mode and nowhere else."""

import numpy as np
import pytest
import torch

from ato.entities.steering import POSITION_MODES, Ablate, Places, Steer, placed, unit
from ato.errors import SettingsError
from ato.models import LanguageModel, load_model, pad
from ato.models.generation import Decoding, generate
from tests.tiny_models import save_tiny_model

LENGTHS, SPANS = (9, 6), ((2, 5), (0, 1))
EXPECTED = {
    "all": ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1, 2, 3, 4, 5, 6, 7, 8]),
    "entity": ([2, 3, 4], [0]),
    "entity_first": ([2], [0]),
    "entity_last": ([4], [0]),
    "entity_to_end": ([2, 3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5]),
    "entity_last_to_end": ([4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5]),
    "question_end": ([8], [5]),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama")), dtype="float32")


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(0))


def direction() -> torch.Tensor:
    return torch.linspace(-1, 3, 32)


def test_steering_moves_by_the_strength_times_the_norm_along_the_unit_direction(x):
    moved = Steer(direction(), 0.5)(x) - x
    torch.testing.assert_close(moved.norm(dim=-1), 0.5 * x.norm(dim=-1))
    cosine = torch.nn.functional.cosine_similarity(moved, direction(), dim=-1)
    torch.testing.assert_close(cosine, torch.ones(3, 4))
    fixed = Steer(direction(), -2.0, norm=3.0)(x) - x
    torch.testing.assert_close(fixed, (-6 * unit(direction())).expand_as(x), rtol=1e-4, atol=1e-5)


def test_ablation_leaves_nothing_along_the_direction_and_the_rest_alone(x):
    found, u = Ablate(7 * direction())(x), unit(direction())
    torch.testing.assert_close(found @ u, torch.zeros(3, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(found + (x @ u)[..., None] * u, x)
    torch.testing.assert_close(Ablate(direction())(found), found)


@pytest.mark.parametrize("mode", POSITION_MODES)
def test_each_mode_changes_its_positions_of_prompts_and_generated_tokens(model, mode):
    rng = np.random.default_rng(0)
    prompts = [rng.integers(3, 259, n) for n in LENGTHS]
    changed: dict[int, set[int]] = {0: set(), 1: set()}
    edit = placed(lambda x: x + 1, Places(mode, LENGTHS, SPANS), layer=1)

    def function(value: torch.Tensor, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        after = edit.function(value, rows, positions)
        for row, at, differs in zip(rows.tolist(), positions.tolist(), (after != value).any(-1).tolist()):
            changed[row] |= {p for p, yes in zip(at, differs) if yes}
        return after

    generate(model, prompts, Decoding(max_new_tokens=4), [type(edit)(1, function)])
    assert (sorted(changed[0]), sorted(changed[1])) == EXPECTED[mode]


def test_modes_without_an_entity_need_no_spans():
    assert Places("question_end", [4, 2]).intervals.tolist() == [[3, 4], [1, 2]]
    assert Places("all", [4]).mask(torch.tensor([0]), torch.tensor([[-1, 0, 1, 99]])).tolist() == [
        [False, False, True, True]
    ]


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (("entities", [4], [(0, 1)]), "entity_last_to_end"),
        (("entity", [4, 4], [(0, 1)]), "1 entity spans for 2 prompts"),
        (("entity", [4, 4], [(0, 1), (3, 5)]), "prompt 1"),
        (("entity_last", [4], [(2, 2)]), "prompt 0"),
    ],
)
def test_places_that_are_not_there_are_refused(places, words):
    with pytest.raises(SettingsError, match=words):
        Places(*places)


@pytest.mark.parametrize("vector", [torch.zeros(4), torch.tensor([float("nan"), 1.0]), torch.ones(2, 2)])
def test_a_direction_without_a_length_is_refused(vector):
    with pytest.raises(SettingsError, match="finite, positive length"):
        unit(vector)


def test_changes_of_half_precision_are_rounded_once(x):
    half = x.bfloat16()
    assert Steer(direction(), 1e-3)(half).dtype == torch.bfloat16
    exact = half.float() - (half.float() @ unit(direction()))[..., None] * unit(direction())
    assert torch.equal(Ablate(direction())(half), exact.bfloat16())


def test_a_failed_steering_leaves_the_model_bit_equal(model):
    ids = np.random.default_rng(0).integers(3, 259, 9)
    before = model.token_losses(*pad([ids]))
    edit = placed(Steer(torch.ones(31), 1.0), Places("all", [9]), layer=1)
    with pytest.raises(RuntimeError):
        generate(model, [ids], Decoding(), [edit])
    assert torch.equal(model.token_losses(*pad([ids])), before)
