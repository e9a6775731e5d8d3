"""The stage ``label`` on planted features: windows, trials and scores are what the plan says, whoever judges."""

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import HashingVectorizer

from ato.autointerp.embedding_judge import EmbeddingJudge
from ato.errors import InputError
from ato.features.exports.packed import PackedFeatures
from ato.residuals.exclusion import ExclusionPolicy
from ato.residuals.live import LiveSource
from ato.saes.transcoder_files import load_transcoder_folder
from flows.commands.export_features import export_features
from flows.settings import Settings
from tasks.collect.sources import residual_source
from tasks.engine.model_cache import language_model
from tasks.label.task import label_features
from tasks.saes.task import load_judged_sae
from tests.ato.features.exports.test_sae_dashboard import read_as_dashboard
from tests.tasks.label.planted_study import (
    DEAD,
    LABEL,
    LAYER,
    PLACES,
    WORD,
    add_transcoder,
    collected,
    planted_settings,
)
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import sae_rows
from warehouse.datasets.sequences import stored_sequences
from warehouse.lists import changes
from warehouse.lists.items import find_items
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, collection and SAE of a labelled study; the warehouse is the one of the environment meanwhile."""
    folder = tmp_path_factory.mktemp("labelled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = planted_settings(folder)
        collection, sae = collected(settings)
        label(settings, collection, sae)
        yield settings, collection, sae


def label(settings: Settings, collection: str, sae: str, **changes: object) -> list[str]:
    return label_features.fn(settings.study(collection), [sae], settings.label.model_copy(update=changes))


def test_a_word_is_described_and_found_a_place_is_not_and_a_dead_feature_says_why(study):
    found = {row["feature_id"]: row for row in rows(None, "from feature_labelled")}
    assert "quartz" in found[WORD]["description"]
    assert found[WORD]["detection"] > 0.95
    assert found[WORD]["detection_low"] > 0.5
    assert not found[WORD]["failed"]
    assert found[WORD]["fuzzing"] > 0.6  # a letter that is marked wrongly may be one of the word
    assert found[WORD]["detection_shuffled"] < found[WORD]["detection"]
    assert abs(found[PLACES]["detection"] - 0.5) < 0.25
    assert found[PLACES]["failed"]
    assert found[DEAD]["description"] is None
    assert "fires in no train document" in found[DEAD]["reason"]


def test_windows_are_text_of_their_sequence_and_fire_where_the_sae_does(study):
    settings, collection, sae = study
    (row,) = sae_rows(Warehouse(), [sae])
    of_row = load_judged_sae(Warehouse(), row)
    found = rows(None, "from example_windows order by feature_id, window_id")
    texts = {q.sequence_id: q for q in stored_sequences(Warehouse(), collection)}
    acts = {}
    for block in residual_source(settings.study(collection)).blocks([LAYER]):
        dense = of_row.encode(block.residuals[LAYER]).numpy()
        for number in set(block.sequence_id.tolist()):
            acts[number] = dense[block.sequence_id == number]
    assert {one["kind"] for one in found} == {"top", "quantile", "random", "silent"}
    for one in found:
        sequence, stop = texts[one["sequence_id"]], one["start"] + len(one["tokens"])
        assert "".join(one["tokens"]) == sequence.text[one["start"] : stop], "a token is a byte here"
        assert (one["split"], one["document_id"]) == (sequence.split, sequence.document_id)
        expected = acts[one["sequence_id"]][one["start"] : stop, one["feature_id"]]
        np.testing.assert_allclose(one["activations"], expected, atol=1e-5)
        assert (max(one["activations"]) == 0) == (one["kind"] == "silent")


def test_silent_windows_come_in_three_tiers_of_documents_that_no_description_is_made_from(study):
    tiers = rows(
        None,
        "select tier, split, count(*) as n from example_windows where kind = 'silent' and feature_id = ? group by all",
        [WORD],
    )
    assert {(one["tier"], one["split"]) for one in tiers} == {
        (tier, split) for tier in ("random", "same_stratum", "near_miss") for split in ("val", "test")
    }
    assert all(one["n"] <= LABEL["windows"]["n_silent"] for one in tiers)
    shared = """select count(*) as n from example_windows as a inner join example_windows as b
        using (feature_id, document) where a.split = 'train' and b.split <> 'train'"""
    assert rows(None, shared)[0]["n"] == 0


def test_counts_are_those_of_all_tokens_and_parts_add_up(study):
    (word,) = rows(None, "from labelled_features where feature_id = ?", [WORD])
    counted = rows(None, "select sum(len(text) - len(replace(text, 'q', ''))) as n from sequences")[0]["n"]
    assert word["n_active"] == counted
    parts = rows(
        None,
        "select stratum, sum(n_active) as n, sum(share) as share from feature_strata where feature_id = ? group by 1",
        [WORD],
    )
    assert {one["stratum"] for one in parts} == {"folder", "relative_position"}
    assert all((one["n"], round(one["share"], 9)) == (counted, 1.0) for one in parts)


def test_a_second_run_does_nothing_and_other_tests_leave_the_evidence_as_it_is(study):
    settings, collection, sae = study
    before = {(run.stage, run.key) for run in manifests(Warehouse())}
    label(settings, collection, sae)
    assert {(run.stage, run.key) for run in manifests(Warehouse())} == before
    (key,) = label(settings, collection, sae, scorers=["intruder"], shuffled=False)
    assert {(run.stage, run.key) for run in manifests(Warehouse())} - before == {("label", key)}
    scorers = rows(None, "select distinct scorer, control from description_scores where labelling = ?", [key])
    assert scorers == [{"scorer": "intruder", "control": "none"}]


def test_the_embedding_judge_tests_the_words_of_the_overlap_judge(study, monkeypatch):
    settings, collection, sae = study

    class Words:
        name = "hashed words"

        def encode(self, texts):
            hashed = HashingVectorizer(n_features=512, alternate_sign=False)
            return hashed.transform(texts).toarray().astype(np.float32)

    monkeypatch.setattr("ato.autointerp.sentence_encoder.SentenceEncoder", Words)
    monkeypatch.setattr("tasks.label.labelling.TOGETHER", 1)
    fitted, fit = [], EmbeddingJudge.fitted

    def noted(self, trials, descriptions):
        fitted.append(set(descriptions))
        return fit(self, trials, descriptions)

    monkeypatch.setattr(EmbeddingJudge, "fitted", noted)
    (key,) = label(settings, collection, sae, judge="embedding", scorers=["detection", "embedding"])
    found = rows(
        None,
        "select judge, description, detection, embedding from feature_labelled where labelling = ? and feature_id = ?",
        [key, WORD],
    )
    (labelled,) = fitted  # thresholds once, by all features of the SAE
    assert len(labelled) > 1
    assert found[0]["judge"] == "embedding hashed words"
    assert "quartz" in found[0]["description"]
    assert found[0]["detection"] > 0.7
    assert found[0]["embedding"] > 0.9


def test_transcoders_of_a_study_are_labelled_by_what_they_read_and_exported_in_every_format(study, tmp_path):
    settings, collection, sae = study
    key = add_transcoder(Warehouse(), collection)
    label(settings, collection, sae, studied=[key], layers=[], features={}, order="random", n_features=4)
    found = rows(None, "select * from labelled_features where sae = ? order by place", [key])
    assert {row["source"] for row in found} == {"transcoder"}
    assert len(found) == 4
    assert 0 not in {row["feature_id"] for row in found}, "it fires on no held-out token"
    lm = language_model(settings.model)
    transcoder = load_transcoder_folder(Warehouse().artifact_path("studied_saes", key), LAYER)
    first = rows(None, "from example_windows where sae = ? and kind = 'top' order by feature_id, window_id", [key])[0]
    (sequence,) = [q for q in stored_sequences(Warehouse(), collection) if q.sequence_id == first["sequence_id"]]
    source = LiveSource(lm, [sequence], [LAYER], n_folds=3, site="mlp_in", policy=ExclusionPolicy(False, False, None))
    read = torch.cat([block.residuals[LAYER] for block in source.blocks()])
    dense = transcoder.encode(read)[:, first["feature_id"]].numpy()
    np.testing.assert_allclose(
        first["activations"], dense[first["start"] : first["start"] + len(first["tokens"])], atol=1e-4
    )
    labelled = sorted(row["feature_id"] for row in found)
    (index,) = export_features(collection, tmp_path / "packed", "circuit-tracer", saes=[key])
    assert PackedFeatures(index.parent).widths == {LAYER: 6}
    (batch,) = export_features(collection, tmp_path / "batches", "neuronpedia", saes=[key])
    assert [one["feature_index"] for one in read_as_dashboard(batch)["features"]] == labelled
    with pytest.raises(InputError, match="no study of the collection has an SAE 'nothing'"):
        label(settings, collection, sae, studied=["nothing"])


def test_a_feature_that_the_sae_lacks_is_refused_in_one_line(study):
    settings, collection, sae = study
    with pytest.raises(InputError, match="no feature 4"):
        label(settings, collection, sae, features={LAYER: [4]})


def test_an_order_that_nothing_tells_says_what_to_run(study):
    settings, collection, sae = study
    with pytest.raises(InputError, match="ato run features"):
        label(settings, collection, sae, features={}, order="causal_effect")


def test_features_on_a_list_are_labelled_and_no_others_whatever_the_list_is_called(study):
    settings, collection, sae = study
    warehouse = Warehouse()
    changes.add(warehouse, "mine", find_items(warehouse, collection, [f"{sae}/{PLACES}", f"{sae}/{WORD}"]))
    keys = label(settings, collection, sae, features={}, list="mine")
    found = rows(None, "select feature_id from feature_descriptions where labelling = ?", [keys[0]])
    assert {row["feature_id"] for row in found} == {WORD, PLACES}
    changes.rename(warehouse, "mine", "yours")
    assert label(settings, collection, sae, features={}, list="yours") == keys, "the key is of what is on it"
    changes.remove(warehouse, "yours", find_items(warehouse, collection, [f"{sae}/{PLACES}"]))
    assert label(settings, collection, sae, features={}, list="yours") != keys
    with pytest.raises(InputError, match="the list 'mine' has no feature"):
        label(settings, collection, sae, features={}, list="mine")
