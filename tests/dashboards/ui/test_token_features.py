"""Features of tokens of the corpus: from stored residuals, and the same from the model where none are stored."""

import pytest

from ato.errors import UnavailableError
from dashboards.ui import token_features
from dashboards.ui.token_features import encoded_sequences
from tests.dashboards.planted_texts import FEATURE, SAE
from tests.tasks.reported_study import SAES
from tests.warehouse.small_warehouse import COLLECTION


def test_stored_residuals_and_the_model_give_the_features_of_plain_encoding(planted, monkeypatch):
    stored = encoded_sequences(COLLECTION, SAE, [0, 1])
    monkeypatch.setattr(token_features, "_encoded", lambda *_: {})  # as if none were stored
    run = encoded_sequences(COLLECTION, SAE, [0, 1])
    for number, (_, ids) in enumerate(planted.sequences[:2]):
        dense = planted.activations(ids)
        for encoded in (stored[number], run[number]):
            values = encoded.activations(FEATURE, len(ids))
            assert values[0] is None
            assert values[1:] == pytest.approx(dense[1:, FEATURE].tolist(), abs=1e-4)
            for position, of in encoded.features.items():
                assert sorted(of.features) == dense[position].nonzero()[0].tolist()
            norms = planted.residuals(1, ids).norm(dim=1)[1:].tolist()
            assert [encoded.norms[position] for position in range(1, len(ids))] == pytest.approx(norms, rel=1e-4)


def test_what_is_neither_stored_nor_run_here_is_one_line(study):
    with pytest.raises(UnavailableError, match="are not stored, and the model is not run here") as caught:
        encoded_sequences(COLLECTION, SAES[6], [0, 1])
    assert "\n" not in str(caught.value)
    with pytest.raises(UnavailableError, match="no such SAE"):
        encoded_sequences(COLLECTION, "another", [0])
