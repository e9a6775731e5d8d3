"""Absorption of a planted parent by a child: rates computed by hand, and none where the parent always fires."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ato.errors import InputError
from ato.models import load_model
from ato.sae_studies.absorption import (
    AbsorptionSettings,
    absorption_reason,
    first_letter_absorption,
    word_absorption,
)
from ato.sae_studies.first_letters import first_letter_words, word_residuals
from ato.saes import SparseAutoencoder
from tests.tiny_models import save_tiny_model

TOY = AbsorptionSettings(min_d_sae=0, min_parameters=0)
D = 12


def toy_sae(leak: float = 0.0) -> SparseAutoencoder:
    """Feature 0 stands for direction 0, and falls silent where direction 1 is there too; feature 1 then stands for both.

    Features 2 to D stand for the other directions. With a leak feature 0 keeps that part.
    """
    decoder = torch.eye(D + 1, D)
    decoder[0], decoder[1] = torch.eye(D)[0], torch.eye(D)[0] * (1 - leak) + torch.eye(D)[1]
    decoder[D] = torch.eye(D)[D - 1]
    encoder = torch.eye(D, D + 1)
    encoder[1, 0] = -(1 - leak)
    return SparseAutoencoder("standard", encoder, torch.zeros(D + 1), decoder, torch.full((D,), 5.0))


def words(kinds: str) -> torch.Tensor:
    """[n, D] a word each: p has the parent alone, c parent and child, . none of them."""
    x = torch.zeros(len(kinds), D)
    for row, kind in enumerate(kinds):
        x[row, 0] = kind in "pc"
        x[row, 1] = kind == "c"
        x[row, 2 + row // 3 % (D - 3)] = 0.5  # says nothing about the letter
    return x + 5.0  # b_dec, of which no feature knows


def test_the_rate_of_a_planted_absorption_is_the_share_of_the_child_words():
    x = words("ppppppccc")
    found = word_absorption(toy_sae(), x, 3 * torch.eye(D)[0], main=[0], settings=TOY)
    assert found.full.tolist() == [False] * 6 + [True] * 3
    assert found.fraction.tolist() == [0.0] * 6 + [1.0] * 3


def test_partial_absorption_is_the_part_that_others_take_over():
    # feature 0 keeps 0.4 of the parent on child words, feature 1 takes 0.6: 0.6 / (0.6 + 0.4)
    found = word_absorption(toy_sae(leak=0.4), words("ppcc"), torch.eye(D)[0], main=[0], settings=TOY)
    assert found.fraction == pytest.approx([0, 0, 0.6, 0.6], abs=1e-6)
    assert not found.full.any()  # the main feature fires
    # less than the proportion that counts: none
    small = word_absorption(toy_sae(leak=0.7), words("cc"), torch.eye(D)[0], main=[0], settings=TOY)
    assert small.fraction.tolist() == [0, 0]


def test_projections_are_on_decoder_rows_of_any_length():
    sae, lengths = toy_sae(leak=0.4), torch.linspace(0.2, 4, D + 1)
    scaled = replace(sae, W_enc=sae.W_enc / lengths, W_dec=sae.W_dec * lengths[:, None])
    for x in (words("pcpc"), words("ccc")):
        found, expected = (word_absorption(of, x, torch.eye(D)[0], [0], TOY) for of in (scaled, sae))
        np.testing.assert_allclose(found.fraction, expected.fraction, atol=1e-5)


def test_a_feature_that_always_fires_is_absorbed_by_none_and_words_without_the_direction_do_not_count():
    eye = torch.eye(D)
    plain = SparseAutoencoder("standard", eye, torch.zeros(D), eye, torch.full((D,), 5.0))
    for x in (words("ppcc"), words("....")):
        found = word_absorption(plain, x, eye[0], main=[0], settings=TOY)
        assert not found.full.any()
        assert not found.fraction.any()
    assert len(word_absorption(plain, x[:0], eye[0], main=[0]).full) == 0


def first_letters(child_share: float, n: int = 120) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Words of which every third has letter s (code 18); of these a share has the child too."""
    kinds = "".join("." if i % 3 else ("c" if (i // 3) % 10 < 10 * child_share else "p") for i in range(n))
    rng = np.random.default_rng(0)
    noise = torch.tensor(rng.normal(size=(n, D)) * 0.01, dtype=torch.float32)
    noise[:, :2] = 0
    letters = np.where(np.arange(n) % 3 == 0, 18, 0)
    return words(kinds) + noise, letters, (np.arange(n) // 3) % 2 == 0


def test_first_letters_find_the_main_feature_on_train_words_and_the_planted_rate_on_test_words():
    x, letters, train = first_letters(child_share=0.3)
    found = first_letter_absorption(toy_sae(), x, letters, train, n_parameters=0, settings=TOY)
    of = {letter.letter: letter for letter in found.letters}
    assert of["s"].main == (0, 1)  # the letter is split: feature 1 adds to F1
    one = first_letter_absorption(
        toy_sae(), x, letters, train, n_parameters=0, settings=AbsorptionSettings(0, 0, max_main=1)
    )
    of = {letter.letter: letter for letter in one.letters}
    assert of["s"].main == (0,)
    judged = (letters == 18) & ~train
    planted = float(((x[:, 1] > 5.5).numpy() & judged).sum() / judged.sum())
    assert of["s"].n_words == judged.sum()
    assert of["s"].full == pytest.approx(planted)
    assert of["s"].fraction == pytest.approx(planted, abs=0.02)
    # every test word on which its probe is right counts once
    assert one.n_words == sum(letter.n_words for letter in one.letters)
    assert one.full.low <= one.full.value <= one.full.high


def test_narrow_saes_and_small_models_have_no_absorption_and_say_why():
    assert absorption_reason(16_384, 2_000_000_000) is None
    assert absorption_reason(4096, 2_000_000_000) == "narrow SAE (d_sae = 4,096 < 16,000)"
    assert absorption_reason(65_536, 135_000_000) == "model of 135,000,000 parameters, below 1,000,000,000"
    x, letters, train = first_letters(0.3)
    found = first_letter_absorption(toy_sae(), x, letters, train, n_parameters=135_000_000)
    assert found.fraction.value is found.full.value is None
    for metric in found.metrics():
        assert metric.reason.startswith("narrow SAE (d_sae = 13 < 16,000); model of 135,000,000")


def test_letters_with_too_few_words_are_left_out_and_none_at_all_is_said():
    x, letters, train = first_letters(0.3, n=9)
    found = first_letter_absorption(toy_sae(), x, letters, train, n_parameters=0, settings=TOY)
    assert found.letters == ()
    assert found.reason.startswith("no letter has 5 words")
    with pytest.raises(InputError, match="letters"):
        first_letter_absorption(toy_sae(), x, letters[1:], train, 0, TOY)


def test_words_are_tokens_with_a_space_and_latin_letters_and_their_residuals_are_those_behind_the_prefix(tmp_path):
    ids, letters = first_letter_words([" apple", "apple", " Zoo", " ab", " aBc", " über", " a1b", "", " ", " tree"])
    assert ids.tolist() == [0, 2, 9]
    assert letters.tolist() == [0, 25, 19]
    model = load_model(save_tiny_model(tmp_path, n_layers=2), device="cpu", dtype="float32")
    found = word_residuals(model, np.array([70, 90, 110]), [5, 6], layer=1, batch_size=2)
    for row, token in enumerate((70, 90, 110)):
        ids = torch.tensor([[5, 6, token]])
        expected = model.residuals(ids, torch.tensor([3]), [1])[1][0, -1]
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-4)
    assert word_residuals(model, np.zeros(0), [5], layer=1).shape == (0, model.d_model)
