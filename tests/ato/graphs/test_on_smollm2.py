"""Attribution graphs of the embedded model in float32: sums balance, and batches of 1 and 16 give the same edges."""

import numpy as np
import pytest
import torch

from ato.graphs.attribution import attribute
from ato.graphs.checks import TOLERANCE, check_conservation, repeat_difference
from ato.models import load_model
from ato.saes.autoencoder import SparseAutoencoder

pytestmark = pytest.mark.slow
PROMPT = "The Congress of the United"


@pytest.fixture(scope="module")
def made():
    """Graphs of one prompt in batches of 1 and 16 between random SAEs of two layers."""
    model = load_model("smollm2-135m", device="cpu", dtype="float32")
    saes = {layer: random_sae(model.d_model, layer) for layer in (8, 16)}
    ids = model.tokenizer(PROMPT)["input_ids"]
    return [attribute(model, ids, saes, max_features=48, batch_size=size, without=[0]).graph for size in (1, 16)]


def random_sae(d, layer, width=256):
    rows = torch.nn.functional.normalize(torch.randn(width, d, generator=torch.Generator().manual_seed(layer)), dim=1)
    return SparseAutoencoder("topk", rows.T.contiguous(), torch.zeros(width), rows, torch.zeros(d), k=8)


def test_edges_into_every_node_sum_to_its_value(made):
    assert check_conservation(made[1], "float32") <= TOLERANCE["float32"]
    assert (~np.isnan(made[1].total)).sum() > 48


def test_batches_of_1_and_16_give_edges_within_a_ten_thousandth(made):
    assert np.array_equal(made[0].feature, made[1].feature)
    assert repeat_difference(*made) <= 1e-4
    largest = max(np.abs(graph.weight).max() for graph in made)
    assert largest * repeat_difference(*made) <= 1e-4, "in absolute terms too"
