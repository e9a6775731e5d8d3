"""``ato activations``: a feature on a text of one's own, as text and as JSON, and mistakes in one line."""

import json

import numpy as np
import pytest
import torch

from ato.features.text_activations import SearchedSAE
from ato.features.text_reading import read_text
from ato.models import load_model
from ato.operators.operator import TransportOperator
from ato.saes.adapter import AdapterLayer, TranscoderAdapter, adapted
from ato.saes.adapter_files import save_adapter
from tasks.engine.stage import Stage
from tests.tasks.scored_study import random_sae
from tests.warehouse.small_warehouse import row
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow

TEXT = "The Union army."


@pytest.fixture(scope="module")
def own_operator(steering_root):
    """An operator from layer 2 to 3 of the collection, in its warehouse."""
    model, rng = load_model(steering_root / "model", dtype="float32"), np.random.default_rng(1)
    d, pair = model.d_model, {"source_layer": 2, "target_layer": 3}
    matrix = np.eye(d) + rng.normal(size=(d, d)) / 10
    operator = TransportOperator(matrix, np.zeros(d), "ridge", **pair, weights_hash=model.identity.weights_hash)
    warehouse = Warehouse(steering_root / "warehouse")
    (latest,) = rows(warehouse, "select collection from collections order by created_at desc limit 1")
    key = latest["collection"]
    stage = Stage(warehouse, "operators", "planted", settings={}, inputs=[key], collection=key)
    path = f"artifacts/operators/{stage.key}/ridge.safetensors"
    scores = {"method": "ridge", "operator": f"ridge-{stage.key}", "r2_val": 0.5}
    with stage:
        stage.add(
            *warehouse.publish_artifact_folder(
                lambda folder: operator.save(folder / "ridge.safetensors"), "operators", stage.key
            )
        )
        stage.write("operators", [row("operators", collection=key, leap=1, path=path, **pair, **scores)])
    return operator


@pytest.fixture(scope="module")
def adapter(steering_root):
    """The adapter of a checkpoint beside the collection's model."""
    model, rng = load_model(steering_root / "model", device="cpu", dtype="float32"), np.random.default_rng(2)
    d, n = model.d_model, 8
    shapes = ((n, d), (n,), (d, n), (d,))
    weights = [torch.tensor(rng.standard_normal(shape) / 4, dtype=torch.float32) for shape in shapes]
    made = TranscoderAdapter({1: AdapterLayer(*weights)})
    save_adapter(made, model, model, steering_root / "adapter")
    return made


def test_the_tokens_and_activations_are_those_of_the_feature(steered, steering_root):
    done = steered("activations", TEXT, "--feature", "L2/5", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("{") :])
    model = load_model(steering_root / "model", dtype="float32")
    expected = read_text(model, SearchedSAE("random", 2, random_sae(2)), 5, TEXT)
    assert "".join(row["token"] for row in found["tokens"]) == TEXT
    assert [row["activation"] for row in found["tokens"]][1:] == pytest.approx(list(expected.activations[1:]), abs=1e-5)
    assert found["tokens"][0]["activation"] is None
    shown = steered("activations", TEXT, "--feature", "L2/5")
    n = sum(bool(value) for value in expected.activations)
    assert TEXT in shown.output
    assert f"L2/5 fires on {n} of {len(expected.tokens) - 1} tokens" in shown.output


def test_an_sae_in_a_folder_is_read_too(steered):
    done = steered("activations", TEXT, "--feature", "FOLDER/own_sae/3")
    assert "L1/3 fires on 0 of 14 tokens; the first and special tokens are not read" in done.output


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ("5", "cannot read the feature '5'"),
        ("L2/x", "write L12/345"),
        ("L1/5", "no SAE at layer 1"),
        ("L2/99", "use 0 to 23"),
    ],
)
def test_a_mistake_is_one_line(steered, feature, words):
    done = steered("activations", TEXT, "--feature", feature)
    assert done.exit_code != 0
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)


def test_predicted_activations_are_those_of_the_operator_and_losses_of_the_model(steered, steering_root, own_operator):
    done = steered("activations", TEXT, "--feature", "L3/1", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert (found["source_layer"], found["method"]) == (2, "ridge")
    model = load_model(steering_root / "model", dtype="float32")
    expected = read_text(model, SearchedSAE("random", 3, random_sae(3)), 1, TEXT, operator=own_operator)
    for name, values in (("predicted", expected.predicted), ("loss", expected.losses)):
        given = [row[name] for row in found["tokens"]]
        assert [value is None for value in given] == [value is None for value in values]
        assert [v for v in given if v is not None] == pytest.approx([v for v in values if v is not None], abs=1e-4)
    assert [row["transported"] for row in found["tokens"]] == list(expected.transported)
    strongest = [None if own is None else own.features[0] for own in expected.features if own is None or own.features]
    assert [
        row["features"] and row["features"][0]["feature_id"] for row in found["tokens"] if row["features"] != []
    ] == (strongest)
    shown = steered("activations", TEXT, "--feature", "L3/1", "--source", "2")
    n = sum(value is True for value in expected.transported)
    assert f"{n} of these transported from layer 2 (ridge)" in shown.output
    refused = steered("activations", TEXT, "--feature", "L3/1", "--source", "1")
    assert "no operator from layer 1 to 3" in str(refused.exception)


def test_a_feature_of_a_transcoder_adapter_is_that_of_the_adapted_model(steered, steering_root, adapter):
    done = steered("activations", TEXT, "--feature", "L1/3", "--adapter", "FOLDER/adapter", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("{") :])
    lm, told = load_model(steering_root / "adapter", device="cpu", dtype="float32"), {}
    ids = torch.tensor([lm.tokenizer(TEXT, add_special_tokens=False)["input_ids"]])
    with torch.no_grad(), adapted(lm.parts, adapter, on_features=told.__setitem__):
        lm.parts.body(input_ids=ids, use_cache=False)
    expected = told[1][0, 1:, 3].tolist()
    assert [row["activation"] for row in found["tokens"]][1:] == pytest.approx(expected, abs=1e-4)
    assert found["operator"] is None
    assert any(value for value in expected)
    refused = steered("activations", TEXT, "--feature", "KEY/3", "--adapter", "FOLDER/adapter")
    assert "cannot read the layer 'KEY' of the adapter" in str(refused.exception)
