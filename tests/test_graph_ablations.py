"""The example's ablation takes out what the feature writes, beside directions of its length, at the last token alone."""

import numpy as np
import pytest
import torch

from examples.graph_ablations import falls, places
from tests.ato.graphs.planted import random_model, random_sae

IDS = [1, 40, 41, 90, 41, 17, 200, 33]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model"), "llama", dtype=torch.float32)


def test_a_place_is_the_first_of_each_document_with_what_is_before_it():
    sequences = [("a", [0] * 9 + [5, 6, 5, 6]), ("a", [0] * 8 + [5, 6]), ("b", [0] * 50 + [5, 6]), ("c", [5] * 20)]
    found = list(places(sequences, 5, 6))
    assert found == [[0] * 9 + [5], [0] * 39 + [5]]


def test_the_fall_is_that_of_the_logit_when_the_feature_is_subtracted_by_hand(model):
    sae, layer, following = random_sae(2), 2, 90
    ids = torch.tensor([IDS])
    base = model.forward(ids, None, read=[layer])
    acts = sae.encode(base.residuals[layer][0])[-1]
    feature = int(acts.argmax())
    found = falls(model, sae, layer, feature, IDS, following, seed=0)
    # After the last block, nothing but the final norm and the unembedding is left.
    last = base.residuals[layer][0, -1]
    logits = [
        model.logits(model.parts.final_norm(state)[None])[0].double()
        for state in (last, last - acts[feature] * sae.W_dec[feature])
    ]
    expected = (logits[0][following] - logits[0].mean()) - (logits[1][following] - logits[1].mean())
    assert found[0] == pytest.approx(float(expected), rel=1e-3, abs=1e-5)
    shares = [float(torch.softmax(one, 0)[following]) for one in logits]
    np.testing.assert_allclose(found[3:], shares, rtol=1e-4)
    assert found[1] != found[0]
    assert falls(model, sae, layer, int(acts.argmin()), IDS, following, seed=0) is None
