"""What graphs are made of beside SAEs: whole sets of transcoders, adapters of a checkpoint, models in bfloat16."""

from pathlib import Path

import pytest
import torch

import ato
from ato.errors import InputError, SAEError
from ato.saes.adapter import AdapterLayer, TranscoderAdapter
from ato.saes.adapter_files import save_adapter
from ato.saes.transcoder_files import save_transcoder
from flows.settings import Settings
from tasks.collect.task import collect_residuals
from tasks.engine.stage import Stage
from tests.ato.graphs.planted import random_transcoder
from tests.tasks.graphs.small_graphs import D_MODEL, collected, graph_settings, graphs
from tests.warehouse.small_warehouse import row
from warehouse.catalog.catalog import rows
from warehouse.quality.checks import check_all, failures
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow
N_LAYERS = 5
PROMPT = {"prompts": [{"text": "the law of the union", "targets": ["a"]}], "kinds": ["attribution"]}


def add_transcoder(warehouse: Warehouse, collection: str, layer: int) -> str:
    """Put a random transcoder of a layer's MLP into the warehouse, as a study does; returns its key."""
    made = random_transcoder(layer, skip=False)
    transcoder = type(made)("standard", made.W_enc, made.b_enc, made.W_dec, made.b_dec)
    own = {"weights": transcoder.weights_hash}
    stage = Stage(warehouse, "sae_study_quality", f"l{layer}", settings=own, inputs=[collection], collection=collection)
    values = {
        "sae": stage.key,
        "label": f"transcoder {layer}",
        "source": "trained",
        "layer": layer,
        "site": "mlp_in",
        "target_site": "mlp_out",
        "has_skip": False,
        "architecture": "standard",
        "d_sae": transcoder.d_sae,
        "path": f"artifacts/studied_saes/{stage.key}",
        "weights_hash": transcoder.weights_hash,
    }
    with stage:
        stage.add(
            *warehouse.publish_artifact_folder(lambda to: save_transcoder(transcoder, to), "studied_saes", stage.key)
        )
        stage.write("studied_saes", [row("studied_saes", collection=collection, **values)])
    return stage.key


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, collection, SAEs and a transcoder of each layer but the fourth."""
    folder = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = graph_settings(folder, **PROMPT)
        collection, saes = collected(settings)
        coders = {layer: add_transcoder(Warehouse(), collection, layer) for layer in (0, 1, 2, 4)}
        yield settings, collection, saes, coders


def test_a_set_of_transcoders_with_a_gap_is_refused_in_one_line_that_names_the_layer(study):
    settings, collection, saes, coders = study
    with pytest.raises(
        InputError, match=r"the transcoders leave out layer 3 .*graphs\.layers=\[0, 1, 2, 4\] for"
    ) as refused:
        graphs(settings, collection, saes, transcoders=list(coders.values()))
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="leave out layers 1, 2, 3"):
        graphs(settings, collection, saes, transcoders=[coders[0], coders[4]])
    with pytest.raises(InputError, match="leave out layer 3 "):
        graphs(settings, collection, saes, transcoders=list(coders.values()), layers=[2, 3])


@pytest.mark.parametrize(("given", "layers"), [((0, 1, 2), None), ((0, 1, 2, 4), [1, 4])], ids=["whole", "listed"])
def test_a_whole_set_and_one_for_listed_layers_make_a_graph_that_conserves(study, given, layers):
    settings, collection, saes, coders = study
    keys = [coders[layer] for layer in given]
    (key,) = graphs(settings, collection, saes, transcoders=keys, layers=layers)
    (found,) = rows(None, "from graphs where graph_set = ?", [key])
    assert found["layers"] == (layers or list(given))
    assert found["saes"] == [coders[layer] for layer in found["layers"]]
    assert found["conservation_residual"] <= 1e-4
    assert rows(None, "from graph_heads where graph_set = ?", [key])


def test_a_layer_without_an_sae_is_leapt_over_and_said(study, capsys):
    settings, collection, saes, _ = study
    (key,) = graphs(settings, collection, saes, layers=[1, 3, 4])
    (found,) = rows(None, "from graphs where graph_set = ?", [key])
    assert found["layers"] == [1, 4]
    assert "no SAE of layers [3]: graphs leap over them" in capsys.readouterr().err


def test_bfloat16_is_made_where_it_is_asked_for_and_its_rows_say_so(study):
    settings, collection, saes, _ = study
    (key,) = graphs(settings, collection, saes, precision="bfloat16")
    (found,) = rows(None, "from graphs where graph_set = ?", [key])
    assert found["precision"] == "bfloat16"
    (summary,) = rows(None, "select balanced from graph_summary where graph_set = ?", [key])
    assert summary["balanced"] is None
    assert failures(check_all(Warehouse())) == []


def adapted_model(settings: Settings, folder: Path) -> Path:
    """The checkpoint of a random adapter of the tiny model, the last layer of it switched off."""
    model = ato.load_model(settings.model.name, device="cpu", dtype="float32")
    draw = torch.Generator().manual_seed(0)
    shapes = ((12, D_MODEL), (12,), (D_MODEL, 12), (D_MODEL,))
    layers = {n: AdapterLayer(*(0.3 * torch.randn(*s, generator=draw) for s in shapes)) for n in range(N_LAYERS)}
    return save_adapter(TranscoderAdapter(layers, frozenset([N_LAYERS - 1])), model, model, folder)


def test_the_adapter_of_a_checkpoint_makes_nodes_with_and_without_the_base_models_path(study, tmp_path):
    settings, collection, saes, _ = study
    with pytest.raises(SAEError, match="use the checkpoint of a transcoder adapter"):
        graphs(settings, collection, saes, adapter="base_path")
    model = settings.model.model_dump() | {"name": str(adapted_model(settings, tmp_path / "adapted"))}
    changed = settings.model_validate(settings.model_dump() | {"model": model})
    own = collect_residuals.fn(changed.model, changed.collecting, changed.layers, changed.operators)
    found = {}
    for path in ("base_path", "features_only"):
        (key,) = graphs(changed, own, [], adapter=path, max_features=1000, n_ablations=3)
        (found[path],) = rows(None, "from graphs where graph_set = ?", [key])
        assert found[path]["layers"] == list(range(N_LAYERS - 1))
        assert found[path]["saes"][0] == "adapter-l00"
        assert found[path]["conservation_residual"] <= 1e-4
    # With the path, errors are those of the first position alone, which the collection leaves out.
    for path, least in (("base_path", 0), ("features_only", 1)):
        at = rows(
            None,
            """select distinct n.position from graph_nodes as n inner join graph_edges as e
            on e.graph_set = n.graph_set and e.source = n.node where n.graph_set = ? and kind = 'error'""",
            [found[path]["graph_set"]],
        )
        assert max((one["position"] for one in at), default=0) >= least
        assert path == "features_only" or {one["position"] for one in at} <= {0}
    assert found["base_path"]["error_share"] < found["features_only"]["error_share"]
    assert failures(check_all(Warehouse())) == []
