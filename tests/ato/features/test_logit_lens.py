"""The logit lens equals dense linear algebra, whatever the chunks."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from ato.errors import InputError
from ato.features.logit_lens import logit_lens, norm_gain


def weights(n_features: int = 7, d: int = 5, vocabulary: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return tuple(
        torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in ((n_features, d), (vocabulary, d))
    )


@pytest.mark.parametrize("held", [1, 100, 10_000])
def test_focus_and_tokens_are_those_of_the_dense_logits(monkeypatch, held):
    monkeypatch.setattr("ato.features.logit_lens._CHUNK_LOGITS", held)
    monkeypatch.setattr("ato.features.logit_lens._CACHED_LOGITS", held // 3)
    monkeypatch.setattr("ato.features.logit_lens._PIECE", 17)
    directions, head = weights()
    done = []
    lens = logit_lens(directions, head, 4, on_chunk=done.append)
    logits = (directions.double() @ head.double().T).numpy()
    z = (logits.max(1) - logits.mean(1)) / logits.std(1)
    np.testing.assert_allclose(lens.focus_z, z, rtol=1e-5)
    np.testing.assert_allclose(lens.focus_entropy, entropy(np.exp(logits), axis=1), rtol=1e-5)
    order = np.argsort(logits, axis=1)
    np.testing.assert_array_equal(lens.bottom_ids, order[:, :4])
    np.testing.assert_array_equal(lens.top_ids, order[:, ::-1][:, :4])
    np.testing.assert_allclose(lens.top_logits, np.take_along_axis(logits, lens.top_ids, 1), rtol=1e-5)
    np.testing.assert_allclose(lens.bottom_logits, np.take_along_axis(logits, lens.bottom_ids, 1), rtol=1e-5)
    assert done[-1] == 7


def test_padding_rows_of_the_unembedding_are_left_out():
    directions, head = weights()
    head[30:] = 100 * directions[0]
    whole, real = logit_lens(directions, head, 3, vocabulary=30), logit_lens(directions, head[:30], 3)
    assert whole.top_ids.max() < 30
    np.testing.assert_array_equal(whole.focus_z, real.focus_z)


def test_a_token_direction_is_focused_on_its_token():
    head = torch.eye(20)
    lens = logit_lens(50 * torch.eye(20)[[4]], head, 1)
    assert lens.top_ids.tolist() == [[4]]
    assert lens.focus_z[0] == pytest.approx(np.sqrt(19))
    assert lens.focus_entropy[0] == pytest.approx(0, abs=1e-6)


def test_a_direction_of_zeros_has_no_focus_and_full_entropy():
    lens = logit_lens(torch.zeros(1, 5), weights()[1], 3)
    assert np.isnan(lens.focus_z[0])
    assert lens.focus_entropy[0] == pytest.approx(np.log(40), rel=1e-6)


def test_more_tokens_than_the_vocabulary_are_the_vocabulary():
    assert logit_lens(*weights(vocabulary=3), n_tokens=10).top_ids.shape == (7, 3)


def test_a_half_precision_unembedding_is_multiplied_in_float32():
    directions, head = weights()
    half = head.bfloat16()
    np.testing.assert_array_equal(
        logit_lens(directions, half).top_logits, logit_lens(directions, half.float()).top_logits
    )


def test_directions_of_another_width_are_refused():
    with pytest.raises(InputError, match="width 4"):
        logit_lens(torch.zeros(2, 4), torch.zeros(3, 5))


@pytest.mark.parametrize("kind", ["layer", "rms", "offset", "plain"])
def test_the_gain_of_a_norm_is_read_off_whatever_form_it_is_kept_in(kind):
    gain = torch.linspace(-0.5, 2.0, 8)

    class Offset(torch.nn.Module):
        """As in Gemma: times 1 + weight."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(gain - 1)

        def forward(self, x):
            return x / x.square().mean(-1, keepdim=True).sqrt() * (1 + self.weight)

    norm = {
        "layer": torch.nn.LayerNorm(8),
        "rms": torch.nn.RMSNorm(8),
        "offset": Offset(),
        "plain": torch.nn.LayerNorm(8, elementwise_affine=False),
    }[kind]
    with torch.no_grad():
        if kind in ("layer", "rms"):
            norm.weight.copy_(gain)
        if kind == "layer":
            norm.bias.fill_(3.0)
    expected = torch.ones(8) if kind == "plain" else gain
    torch.testing.assert_close(norm_gain(norm, 8), expected, rtol=1e-4, atol=1e-4)
