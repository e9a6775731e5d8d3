"""Next-token losses equal cross-entropy, whatever is held at a time."""

import pytest
import torch

from ato.models import losses
from ato.models.losses import next_token_losses

VOCABULARY = 50


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states [3, 9, 8], token ids, lengths and an unembedding."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 9, 8, generator=generator)
    ids = torch.randint(VOCABULARY, (3, 9), generator=generator)
    return hidden, ids, torch.tensor([9, 4, 1]), torch.randn(VOCABULARY, 8, generator=generator)


@pytest.mark.parametrize("held", [512, 4, 1])
def test_losses_are_the_surprise_of_each_next_token_and_zero_where_padding_is_predicted(batch, held, monkeypatch):
    monkeypatch.setattr(losses, "_HEAD_TOKENS", held)
    hidden, ids, lengths, head = batch
    found = next_token_losses(lambda x: x @ head.T, hidden, ids, lengths)
    assert found.shape == (3, 8)
    assert found.dtype == torch.float32
    for row in range(3):
        for position in range(8):
            logits = head.double() @ hidden[row, position].double()
            surprise = torch.logsumexp(logits, 0) - logits[ids[row, position + 1]]
            expected = surprise.item() if position + 1 < lengths[row] else 0.0
            assert found[row, position].item() == pytest.approx(expected, rel=1e-5)


def test_logits_of_a_few_tokens_are_held_at_a_time_and_none_of_padding(batch, monkeypatch):
    monkeypatch.setattr(losses, "_HEAD_TOKENS", 4)
    hidden, ids, lengths, head = batch
    held = []

    def logits(x: torch.Tensor) -> torch.Tensor:
        held.append(len(x))
        return x @ head.T

    next_token_losses(logits, hidden, ids, lengths)
    assert held == [4, 4, 3]  # 8 + 3 + 0 tokens are predicted


def test_logits_of_half_precision_are_widened_before_the_softmax(batch):
    hidden, ids, lengths, head = batch
    logits = (hidden @ head.T).bfloat16()
    found = next_token_losses(lambda x: (x @ head.T).bfloat16(), hidden, ids, lengths)
    expected = torch.nn.functional.cross_entropy(logits[0, :-1].float(), ids[0, 1:], reduction="none")
    torch.testing.assert_close(found[0], expected)


def test_sequences_of_one_token_have_no_loss(batch):
    hidden, ids, _, head = batch
    assert not next_token_losses(lambda x: x @ head.T, hidden, ids, torch.ones(3, dtype=torch.long)).any()
