"""The real model that ships with the product. Slow: loads 135 million weights."""

import numpy as np
import pytest
import torch

from ato.errors import DamagedFileError
from ato.io import embedded
from ato.io.embedded import model_file
from ato.models import LanguageModel, identify, load_model, pad
from ato.residuals.live import LiveSource, median_norms
from ato.text.sequences import make_sequences
from warehouse.datasets.corpora import read_documents

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return load_model("smollm2-135m", device="cpu")


@pytest.fixture(scope="module")
def sequences(model):
    options = dict(seq_len=128, n_tokens=2048, max_sequences_per_document=1, min_len=32, split_seed=0, n_folds=2)
    return list(make_sequences(read_documents("sotu"), model.tokenizer, **options))


def test_it_is_the_published_file_and_has_the_published_shape(model):
    assert model.identity == identify("smollm2-135m")
    assert embedded.MODEL_SHA256.startswith(model.identity.weights_hash)
    shape = (model.n_layers, model.d_model, model.vocabulary_size, model.context_length)
    assert shape == (30, 576, 49152, 8192)


def test_the_same_weights_by_their_path_have_the_same_hash():
    assert identify(model_file()).weights_hash == identify("smollm2-135m").weights_hash


def test_a_damaged_file_is_refused_before_loading(tmp_path, monkeypatch):
    damaged = tmp_path / "model.gguf"
    data = bytearray(model_file().read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    monkeypatch.setattr(embedded, "_package_files", lambda *args: [damaged])
    with pytest.raises(DamagedFileError, match="run `make install`"):
        load_model("smollm2-135m")


def test_it_knows_the_capital_of_france(model):
    ids = torch.tensor([model.tokenizer("The capital of France is")["input_ids"]])
    hidden = model.hidden_from(0, model.residuals(ids, [ids.shape[1]], [0])[0], ids, [ids.shape[1]])
    assert model.tokenizer.decode(model.logits(hidden)[0, -1].argmax()) == " Paris"


def test_it_predicts_real_text_far_better_than_chance(model, sequences):
    ids, lengths = pad([s.token_ids for s in sequences[:8]])
    loss = model.token_losses(ids, lengths).sum() / (lengths - 1).sum()
    assert 2.0 < loss < 4.5  # chance is log 49152 = 10.8


def test_position_0_is_an_activation_sink_that_the_source_leaves_out(model, sequences):
    ids, lengths = pad([s.token_ids for s in sequences[:4]])
    norms = model.residuals(ids, lengths, [14])[14].float().norm(dim=-1)
    assert norms[:, 0].min() > 20 * norms.median()
    pilot = LiveSource(model, sequences, [8, 14], n_folds=2, batch_size=8)
    live = LiveSource(model, sequences, [8, 14], n_folds=2, batch_size=8, median_norm=median_norms(pilot.blocks()))
    largest = max(float(block.residuals[14].norm(dim=1).max()) for block in live.blocks())
    assert largest < 10 * norms.median() * 1.1
    assert live.dropped["first_position"] == len(sequences)
    assert live.tokens_run == sum(len(s.token_ids) for s in sequences)


def test_starting_in_the_middle_gives_the_losses_of_the_whole_pass(model, sequences):
    ids, lengths = pad([s.token_ids[: 20 + 9 * i] for i, s in enumerate(sequences[:4])])
    residual = model.residuals(ids, lengths, [20])[20]
    assert np.array_equal(model.losses_from(20, residual, ids, lengths), model.token_losses(ids, lengths))
