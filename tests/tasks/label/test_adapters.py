"""Features of a transcoder adapter: read from the adapted model of its checkpoint, labelled and exported as others are."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ato.errors import LayerError, MismatchError, SAEError
from ato.features.exports.packed import PackedFeatures
from ato.models import load_model
from ato.models.language_model import pad
from ato.saes.adapter import AdapterLayer, TranscoderAdapter, adapted
from ato.saes.adapter_files import save_adapter
from flows.commands.export_features import export_features
from tasks.label.task import label_features
from tests.ato.features.exports.test_sae_dashboard import read_as_dashboard, read_by_its_own_reader
from tests.tasks.label.planted_study import D_MODEL, collected, planted_settings
from tests.tiny_models import save_tiny_model
from warehouse.catalog.catalog import rows
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow
LAYERS, N_FEATURES, NAMED = (0, 1, 2), 12, [0, 3, 11]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, collection and SAE of a planted study, and the checkpoint of an adapter that was labelled on its texts."""
    folder = tmp_path_factory.mktemp("adapter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        save_tiny_model(folder / "base", "gpt2", n_layers=3, d_model=D_MODEL, seed=1)
        save_tiny_model(folder / "tuned", "gpt2", n_layers=3, d_model=D_MODEL, seed=2)
        tuned, base = (load_model(folder / name, device="cpu", dtype="float32") for name in ("tuned", "base"))
        save_adapter(random_adapter(), tuned, base, folder / "adapter")
        settings = planted_settings(
            folder, layers=[], adapter=str(folder / "adapter"), adapter_layers=[1, 2], features={1: NAMED}, n_features=5
        )
        collection, sae = collected(settings)
        label_features.fn(settings.study(collection), [sae], settings.label)
        yield settings, collection, sae


def random_adapter() -> TranscoderAdapter:
    """Of layers 0 to 2; layer 0 is switched off."""
    rng = np.random.default_rng(0)
    shapes = ((N_FEATURES, D_MODEL), (N_FEATURES,), (D_MODEL, N_FEATURES), (D_MODEL,))
    layers = {
        layer: AdapterLayer(*(torch.tensor(rng.standard_normal(s) / 4, dtype=torch.float32) for s in shapes))
        for layer in LAYERS
    }
    return TranscoderAdapter(layers, disabled=frozenset([0]))


def test_activations_are_those_of_the_adapted_model(study):
    settings, collection, _ = study
    lm = load_model(settings.label.adapter, device="cpu", dtype="float32")
    told = {}
    sequences = stored_sequences(Warehouse(), collection)
    n_active, windows = 0, []
    with torch.no_grad(), adapted(lm.parts, random_adapter(), on_features=told.__setitem__):
        for q in sequences:
            ids, _ = pad([q.token_ids])
            lm.parts.body(input_ids=ids, use_cache=False)
            n_active += int((told[1][0, :, NAMED[1]] > 0).sum())
            of_layer = {layer: told[layer][0].numpy() for layer in (1, 2)}
            windows += (own := rows(None, "from example_windows where sequence_id = ?", [q.sequence_id]))
            for one in own:
                stop = one["start"] + len(one["tokens"])
                expected = of_layer[one["layer"]][one["start"] : stop, one["feature_id"]]
                np.testing.assert_allclose(one["activations"], expected, atol=1e-4, rtol=1e-4)
    assert {one["layer"] for one in windows} == {1, 2}
    (counted,) = rows(None, "select n_active from labelled_features where layer = 1 and feature_id = ?", [NAMED[1]])
    assert counted["n_active"] == n_active


def test_named_features_and_others_drawn_at_random_are_described_scored_and_shown(study):
    found = rows(None, "select distinct sae, layer, source, ordered_by from labelled_features order by layer")
    assert [(one["layer"], one["source"], one["ordered_by"]) for one in found] == [
        (1, "adapter", "named"),
        (2, "adapter", "random"),
    ]
    assert {one["sae"].rpartition("-")[0] for one in found} == {"adapter-L01", "adapter-L02"}
    labelled = rows(None, "select layer, feature_id, source from feature_labelled order by layer, feature_id")
    assert [one["feature_id"] for one in labelled if one["layer"] == 1] == NAMED
    assert len([one for one in labelled if one["layer"] == 2]) == 5
    assert rows(None, "select count(*) as n from label_scores where source = 'adapter' and n_scored > 0")[0]["n"] > 0
    lens = rows(None, "select len(promoted) as n from labelled_features")
    assert {one["n"] for one in lens} == {15}


def test_they_are_exported_in_every_format_and_a_viewer_finds_all_features_that_a_layer_has(study, tmp_path):
    settings, collection, _ = study
    read = rows(
        None, "select sae, layer, site, d_sae, folder from labelled_sources where source = 'adapter' order by layer"
    )
    assert [(one["layer"], one["site"], one["d_sae"]) for one in read] == [(1, "mlp_in", 12), (2, "mlp_in", 12)]
    assert {one["folder"] for one in read} == {str(Path(settings.label.adapter).resolve())}
    saes = [one["sae"] for one in read]
    (metadata,) = export_features(collection, tmp_path / "expanded", "expanded", saes=saes)
    files = [json.loads(file.read_text()) for file in metadata.parent.glob("features/*.json")]
    shown = {(one["layer"], one["feature"]): one for one in files}
    assert {feature for layer, feature in shown if layer == 1} == set(NAMED)
    assert all(one["examples_quantiles"] for one in files)
    (index,) = export_features(collection, tmp_path / "packed", "circuit-tracer", saes=saes)
    packed = PackedFeatures(index.parent)
    assert packed.widths == {1: N_FEATURES, 2: N_FEATURES}
    assert all(packed.read(*place) == content for place, content in shown.items())
    assert all(packed.read(layer, feature) for layer in (1, 2) for feature in range(N_FEATURES))
    batches = export_features(collection, tmp_path / "batches", "neuronpedia", saes=saes)
    assert [path.parent.name for path in batches] == [f"{one['layer']}-{one['sae']}" for one in read]
    for path, layer in zip(batches, (1, 2), strict=True):
        of_layer = sorted(feature for of, feature in shown if of == layer)
        assert [one["feature_index"] for one in read_as_dashboard(path)["features"]] == of_layer
        assert [one.feature_index for one in read_by_its_own_reader(path).features] == of_layer
        skipped = json.loads((path.parent / "skipped_indexes.json").read_bytes())["skipped_indexes"]
        assert sorted(of_layer + skipped) == list(range(N_FEATURES))


def test_a_second_run_does_nothing(study):
    settings, collection, sae = study
    before = rows(None, "select key from stage_runs order by key")
    label_features.fn(settings.study(collection), [sae], settings.label)
    assert rows(None, "select key from stage_runs order by key") == before


def test_a_layer_that_is_switched_off_and_other_tokens_are_refused_in_one_line(study, tmp_path):
    settings, collection, sae = study

    def label(**changes):
        label_features.fn(settings.study(collection), [sae], settings.label.model_copy(update=changes))

    with pytest.raises(LayerError, match=r"layer 0 has no adapter at work .*use layers of \[1, 2\]"):
        label(adapter_layers=[0])
    with pytest.raises(SAEError, match="transcoder_n_features"):
        label(adapter=settings.model.name)
    base, tuned = (
        load_model(save_tiny_model(tmp_path / name, "llama", n_layers=3, d_model=D_MODEL), device="cpu")
        for name in ("base", "tuned")
    )
    other = save_adapter(random_adapter(), tuned, base, tmp_path / "adapter")
    (other / "tokenizer.json").write_text((other / "tokenizer.json").read_text().replace('"q"', '"\u00fc\u00fc"'))
    with pytest.raises(MismatchError, match="tokens are not those"):
        label(adapter=str(other))
