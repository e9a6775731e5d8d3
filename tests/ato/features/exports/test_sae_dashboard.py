"""Batches for Neuronpedia: SAEDashboard's rules for reading them hold, and our own importer finds the descriptions."""

import gzip
import importlib.util
import json
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from ato.errors import InputError
from ato.features.exports.feature_page import ExampleGroup
from ato.features.exports.sae_dashboard import DashboardSource, batch_json, write_batches
from ato.neuronpedia.records import SourceId, explanation_from
from tests.ato.features.exports.pages import excerpt, page, page_lists

SOURCE = DashboardSource("tiny", 1, "sae-1", None, "monology/pile", 24, 128)
BATCH = {"model_id": str, "layer": int, "sae_set": str, "sae_id_suffix": (str, type(None)), "features": list}
LISTS = [
    *(f"neuron_alignment_{name}" for name in ("indices", "values", "l1")),
    *(f"correlated_{what}_{name}" for what in ("neurons", "features") for name in ("indices", "l1", "pearson")),
    *(f"{end}_{name}" for end in ("neg", "pos") for name in ("str", "values")),
    *(f"{what}_hist_data_bar_{name}" for what in ("freq", "logits") for name in ("values", "heights")),
    *("activations", "decoder_weights_dist", "vector"),
]
FEATURE = dict.fromkeys(LISTS, list) | {
    "feature_index": int,
    "frac_nonzero": (float, type(None)),
    "n_prompts_total": int,
    "n_tokens_in_prompt": int,
    "dataset": str,
}
NUMBER = (int, float, type(None))
ACTIVATION = {
    "bin_min": NUMBER,
    "bin_max": NUMBER,
    "bin_contains": NUMBER,
    "tokens": list,
    "values": list,
    "qualifying_token_index": int,
}


def read_as_dashboard(path: Path) -> dict[str, Any]:
    """A batch, held against the reader's rules: it passes each object's fields by name, so others would be refused."""
    batch = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    _has_fields(batch, BATCH)
    for feature in batch["features"]:
        _has_fields(feature, FEATURE)
        assert all(isinstance(token, str) for token in feature["pos_str"] + feature["neg_str"])
        assert len(feature["freq_hist_data_bar_values"]) == len(feature["freq_hist_data_bar_heights"])
        for one in feature["activations"]:
            _has_fields(one, ACTIVATION)
            assert len(one["tokens"]) == len(one["values"]) > one["qualifying_token_index"] >= 0
    return batch


def read_by_its_own_reader(path: Path) -> Any:
    """A batch, as SAEDashboard reads it; the package is here as data, since it needs older versions than ours."""
    file = distribution("sae-dashboard").locate_file("sae_dashboard/neuronpedia/neuronpedia_dashboard.py")
    spec = importlib.util.spec_from_file_location("neuronpedia_dashboard", str(file))
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    return reader.NeuronpediaDashboardBatch(**json.loads(path.read_bytes()))


def _has_fields(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name, kind in wanted.items():
        assert isinstance(found[name], kind), name


def test_features_go_into_batches_and_the_others_are_listed_as_skipped(tmp_path):
    pages = [page(i) for i in (0, 2, 3, 7, 8)]
    paths = write_batches(pages, SOURCE, tmp_path, d_sae=10, batch_size=2)
    assert [path.name for path in paths] == ["batch-0.json", "batch-1.json", "batch-2.json"]
    found = [[f["feature_index"] for f in read_as_dashboard(path)["features"]] for path in paths]
    assert found == [[0, 2], [3, 7], [8]]
    skipped = json.loads((tmp_path / "skipped_indexes.json").read_bytes())
    assert skipped["skipped_indexes"] == [1, 4, 5, 6, 9]
    assert (skipped["model_id"], skipped["layer"], skipped["sae_set"]) == ("tiny", "1", "sae-1")


def test_sae_dashboards_own_reader_accepts_a_batch_and_writes_it_back(tmp_path):
    (path,) = write_batches([page(i) for i in (0, 7)], SOURCE, tmp_path, d_sae=8)
    read, content = read_by_its_own_reader(path), json.loads(path.read_bytes())
    assert [feature.feature_index for feature in read.features] == [0, 7]
    for feature, written in zip(read.features, content["features"], strict=True):
        found = feature.to_dict()
        assert found["activations"] == written["activations"]
        assert {name: value for name, value in written.items() if name in found} == found


def test_a_feature_shows_its_statistics_and_tokens():
    (feature,) = batch_json([page()], SOURCE)["features"]
    assert feature["frac_nonzero"] == 0.05
    assert (feature["pos_str"], feature["pos_values"]) == ([" court", "😀"], [2.5, 1.25])
    assert (feature["neg_str"], feature["neg_values"]) == (["ly"], [-3.0])
    assert (feature["dataset"], feature["n_prompts_total"], feature["n_tokens_in_prompt"]) == ("monology/pile", 24, 128)
    bars, heights = feature["freq_hist_data_bar_values"], feature["freq_hist_data_bar_heights"]
    assert (len(bars), bars[0], bars[-1]) == (40, 0.05, 3.95)
    assert sum(heights) == pytest.approx(50)


def test_examples_say_between_which_activations_they_lie_and_how_many_tokens_do():
    (feature,) = batch_json([page()], SOURCE)["features"]
    quantile, random, first, second = feature["activations"]
    assert [first[name] for name in ("bin_min", "bin_max", "bin_contains")] == [-1, 4.0, -1]
    assert [second[name] for name in ("bin_min", "bin_max", "bin_contains")] == [-1, 4.0, -1]
    assert [random[name] for name in ("bin_min", "bin_max", "bin_contains")] == [0.0, 4.0, 0.05]
    assert [quantile[name] for name in ("bin_min", "bin_max", "bin_contains")] == [1.5, 1.5, 0.025]
    assert random["tokens"] == [" in", " the", " 日", ""]
    assert random["values"][random["qualifying_token_index"]] == 1.5


def test_what_is_not_known_is_null_or_empty(tmp_path):
    bare = page(tokens=None, active=None, top_tokens=(), top_logits=(), histogram_edges=(), histogram_counts=())
    (path,) = write_batches([replace(bare, groups=(), descriptions=())], SOURCE, tmp_path, d_sae=8)
    (feature,) = read_as_dashboard(path)["features"]
    assert feature["frac_nonzero"] is None
    assert feature["activations"] == feature["freq_hist_data_bar_values"] == []
    assert not (tmp_path / "explanations").exists()


def test_numbers_that_are_not_finite_are_null(tmp_path):
    odd = ExampleGroup("random", (excerpt(("a", "b"), (float("nan"), float("inf")), 1),))
    (path,) = write_batches([page(groups=(odd,), top_logits=(float("nan"), 1.0))], SOURCE, tmp_path, d_sae=8)
    (feature,) = read_as_dashboard(path)["features"]
    assert feature["activations"][0]["values"] == [None, None]
    assert feature["pos_values"] == [None, 1.0]


def test_our_own_importer_reads_the_descriptions_with_their_scores(tmp_path):
    write_batches([page()], SOURCE, tmp_path, d_sae=8)
    lines = gzip.decompress((tmp_path / "explanations" / "batch-0.jsonl.gz").read_bytes()).splitlines()
    read = [explanation_from(json.loads(line), SourceId.parse("tiny/1-sae-1")) for line in lines]
    assert [
        (one.feature_id, one.description, one.type_name, one.explainer, one.score, one.score_type) for one in read
    ] == [
        (7, "courts of law", "overlap", "overlap", 0.9, "detection"),
        (7, "law", "oai_token-act-pair", "gpt-4o-mini", None, None),
    ]


def test_a_second_export_leaves_no_batch_of_the_first(tmp_path):
    write_batches([page(i) for i in range(8)], SOURCE, tmp_path, d_sae=8, batch_size=2)
    write_batches([page(descriptions=())], SOURCE, tmp_path, d_sae=8, batch_size=2)
    assert sorted(path.name for path in tmp_path.glob("**/*.*")) == ["batch-0.json", "skipped_indexes.json"]


@pytest.mark.parametrize(
    "neuronpedia_id",
    ["gemma-2-2b/6-gemmascope-res-16k", "gemma-2-2b/12-gemmascope-res-16k__l0-176", "gpt2-small/0-res-jb"],
)
def test_an_id_of_neuronpedia_is_read_and_written(neuronpedia_id):
    assert DashboardSource.parse(neuronpedia_id).neuronpedia_id == neuronpedia_id


def test_the_parts_of_an_id_are_layer_set_and_suffix():
    found = DashboardSource.parse("gemma-2-2b/12-gemmascope-res-16k__l0-176", n_prompts=3)
    assert (found.layer, found.sae_set, found.sae_id_suffix, found.n_prompts) == (12, "gemmascope-res-16k", "l0-176", 3)


@pytest.mark.parametrize(
    "bad", ["gpt2-small", "gpt2-small/6", "gpt2-small/e-res", "/6-res-jb", "../6-res-jb", "gpt2/6-a/b", ""]
)
def test_an_id_without_a_set_is_refused(bad):
    with pytest.raises(InputError, match="names no set"):
        DashboardSource.parse(bad)


@pytest.mark.parametrize("pages", [[page(7, 2)], [page(10)], [page(7), page(3)]])
def test_pages_of_another_sae_are_refused(tmp_path, pages):
    with pytest.raises(InputError):
        write_batches(pages, SOURCE, tmp_path, d_sae=10)
    assert not list(tmp_path.glob("batch-*"))


@settings(max_examples=40, deadline=None)
@given(pages=page_lists())
def test_any_page_obeys_the_rules_of_the_reader(pages, tmp_path_factory):
    for layer in {one.layer for one in pages}:
        own = [one for one in pages if one.layer == layer]
        folder = tmp_path_factory.mktemp("batches")
        paths = write_batches(own, replace(SOURCE, layer=layer), folder, d_sae=13, batch_size=2)
        read = [feature["feature_index"] for path in paths for feature in read_as_dashboard(path)["features"]]
        assert read == [one.feature_id for one in own]
        skipped = json.loads((folder / "skipped_indexes.json").read_bytes())["skipped_indexes"]
        assert sorted(read + skipped) == list(range(13))
