"""Scoring of features end to end on a tiny study: what lands in the tables, and what it was made from."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ato.causal.ablation import ablation_effects
from ato.numerics.evenly import evenly_spaced
from ato.text import TokenSequence
from flows.settings import Settings, load_settings, profile_names
from tasks.collect.sources import residual_source
from tasks.engine.model_cache import language_model
from tasks.engine.study import Study
from tasks.features.scoring import over_documents
from tasks.features.task import score_features
from tasks.saes.task import load_judged_sae
from tests.tasks.scored_study import D_SAE, FEATURES, add_sae, collected, random_sae
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import collection_row, sae_rows, selected_features
from warehouse.datasets.sequences import stored_sequences
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse

SILENT = 3

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, collection and SAE keys of a scored study; the warehouse is the one of the environment meanwhile."""
    folder: Path = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings, collection = collected(folder)
        keys = [add_sae(Warehouse(), collection, layer, random_sae(layer)) for layer in (2, 3)]
        score(settings, collection, keys)
        yield settings, collection, keys


def score(settings: Settings, collection: str, keys: list[str], **changes: object) -> None:
    features = settings.features.model_copy(update=changes)
    score_features.fn(settings.study(collection), keys, features)


def of_sae(table: str, key: str) -> list[dict]:
    order = "feature_id" if table == "feature_scores" else "feature_id, kind, rank"
    return rows(None, f"from {table} where sae = ? order by {order}", [key])


def scorings() -> list[str]:
    return [run.key for run in manifests(Warehouse()) if run.stage == "feature_scores" and run.quality == "passed"]


def test_every_feature_has_a_row_with_the_components_of_its_first_train_tokens(study):
    settings, collection, keys = study
    source = residual_source(settings.study(collection))
    for key, layer in zip(keys, (2, 3), strict=True):
        found = of_sae("feature_scores", key)
        x = np.concatenate([b.residuals[layer].numpy() for b in source.blocks([layer], ["train"])])[:3_000]
        dense = random_sae(layer).encode(torch.from_numpy(x)).numpy()
        assert [row["feature_id"] for row in found] == list(range(D_SAE))
        assert {row["n_tokens"] for row in found} == {3_000}
        assert [row["n_active"] for row in found] == (dense > 0).sum(0).tolist()
        assert max(row["n_top"] for row in found) == FEATURES["top_positions"]
        assert all(len(row["top_tokens"]) == len(row["bottom_logits"]) == 3 for row in found)


def test_candidates_and_selected_features_are_the_best_shares(study):
    for key in study[2]:
        found = of_sae("feature_scores", key)
        candidates = [row for row in found if row["candidate"]]
        assert len(candidates) == int(0.5 * D_SAE)
        assert min(row["pre_score"] for row in candidates) >= max(
            row["pre_score"] for row in found if not row["candidate"] and row["pre_score"] is not None
        )
        assert {row["feature_id"] for row in found if row["score"] is not None} <= {r["feature_id"] for r in candidates}
        selected = sorted((row for row in found if row["selected"]), key=lambda row: -row["score"])
        assert len(selected) == int(0.2 * D_SAE)
        assert [row["rank"] for row in selected] == list(range(1, len(selected) + 1))
        chosen = selected_features(Warehouse(), study[1], key)
        assert chosen.tolist() == [row["feature_id"] for row in selected]


def test_a_feature_that_never_fired_has_no_score_and_is_not_selected(study):
    for key in study[2]:
        silent = of_sae("feature_scores", key)[SILENT]
        names = (
            "mean_activation",
            "token_entropy",
            "redundancy",
            "redundant_with",
            "pre_score",
            "causal_effect",
            "score",
            "rank",
        )
        assert [silent[name] for name in names] == [None] * len(names)
        assert (silent["n_active"], silent["deadness"], silent["candidate"], silent["selected"]) == (
            0,
            1.0,
            False,
            False,
        )
        assert silent["focus_z"] is not None


def test_causal_effects_are_those_of_ablation_on_validation_text_alone(study):
    settings, collection, (key, _) = study
    warehouse = Warehouse()
    found = of_sae("feature_scores", key)
    candidates = np.array([row["feature_id"] for row in found if row["candidate"]])
    expected = ablation_effects(
        language_model(settings.model),
        {key: (2, load_judged_sae(warehouse, sae_rows(warehouse, [key])[0]), candidates)},
        evenly_spaced(stored_sequences(warehouse, collection, splits=["val"]), 64),
        n_sequences=2,
        n_tokens=8,
        median_norm=settings.study(collection).row.median_norms,
    )[key]
    by_id = {row["feature_id"]: row for row in found}
    for i, f in enumerate(candidates):
        assert by_id[f]["n_ablated"] == expected.n_tokens[i] > 0
        assert by_id[f]["n_ablated_documents"] == expected.n_documents[i]
        columns = ("causal_effect", "causal_effect_low", "causal_effect_high")
        assert [by_id[f][name] for name in columns] == pytest.approx(astuple(expected.effect[i]), abs=1e-5)
    assert all(row["causal_effect"] is None and row["n_ablated"] == 0 for row in found if not row["candidate"])


def test_text_for_ablation_is_of_every_document_before_it_is_twice_of_one():
    def of(documents):
        return [TokenSequence(i, "", d, "val", None, 0, np.zeros(4), "") for i, d in enumerate(documents)]

    long = of([0] * 90 + list(range(1, 11)))
    chosen = over_documents(long, 11)
    assert sorted(q.document for q in chosen) == list(range(11)), "evenly spaced ones would be ten of the long document"
    assert [q.sequence_id for q in over_documents(long, 20)] == sorted(q.sequence_id for q in over_documents(long, 20))
    assert len(over_documents(long, 20)) == 20
    assert over_documents(long, 500) == long
    assert len({q.document for q in over_documents(of(range(50)), 10)}) == 10
    assert over_documents([], 10) == []
    starts = [q.sequence_id % 3 for q in over_documents(of(np.repeat(range(9), 3)), 9)]
    assert set(starts) == {0, 1, 2}, "not the beginning of every document"


@pytest.mark.parametrize("profile", [*profile_names(), None])
def test_effects_of_features_rest_on_at_least_ten_documents_by_default(profile):
    settings = Settings() if profile is None else load_settings(profile)
    assert settings.features.ablation_sequences >= 10


def test_examples_are_train_text_of_the_selected_features(study):
    _, collection, keys = study
    train = {q.sequence_id: q for q in stored_sequences(Warehouse(), collection, splits=["train"])}
    for key in keys:
        found = of_sae("feature_examples", key)
        assert {row["feature_id"] for row in found} == set(selected_features(Warehouse(), collection, key).tolist())
        counts = {kind: sum(row["kind"] == kind for row in found) for kind in ("top", "random", "quantile")}
        n = int(0.2 * D_SAE)
        assert counts == {"top": 3 * n, "random": 2 * n, "quantile": 2 * n}
        scores = of_sae("feature_scores", key)
        for row in found:
            text = "".join(row["tokens"])
            assert text == train[row["sequence_id"]].text[row["start"] : row["start"] + len(text)]
            assert row["activations"][row["position"] - row["start"]] == pytest.approx(row["activation"], rel=1e-5)
            assert len(row["tokens"]) == len(row["activations"]) <= 4 + 1 + 3
            if row["kind"] == "top" and row["rank"] == 1:
                assert row["activation"] == pytest.approx(scores[row["feature_id"]]["max_activation"])


def test_the_test_split_is_never_read(study, monkeypatch):
    settings, collection, keys = study
    asked = []
    import tasks.features.task
    from warehouse.datasets import sequences
    from warehouse.datasets.stored_source import StoredSource

    blocks = StoredSource.blocks
    monkeypatch.setattr(
        StoredSource,
        "blocks",
        lambda self, layers=None, splits=None: asked.append(splits) or blocks(self, layers, splits),
    )
    stored = sequences.stored_sequences
    monkeypatch.setattr(
        tasks.features.task, "stored_sequences", lambda w, c, splits: asked.append(splits) or stored(w, c, splits)
    )
    score(settings, collection, keys[:1], n_tokens=500)
    assert {split for splits in asked for split in splits} == {"train", "val"}


def test_complete_scores_are_skipped_and_each_setting_makes_new_ones(study):
    settings, collection, keys = study
    before = scorings()
    score(settings, collection, keys)
    assert scorings() == before
    score(settings, collection, keys[:1], top_percent=50.0)
    assert len(scorings()) == len(before) + 1
    assert len(selected_features(Warehouse(), collection, keys[0])) == D_SAE // 2
    assert len(selected_features(Warehouse(), collection, keys[1])) == int(0.2 * D_SAE)


def test_features_of_another_site_are_scored_without_a_causal_effect(study, capsys):
    settings, collection, keys = study
    row = collection_row(Warehouse(), collection)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "row", replace(row, site="mlp_out"))
        score(settings, collection, keys[:1], seed=1)
    key = scorings()[-1]
    found = rows(None, "from feature_scores where scoring = ?", [key])
    assert all(row["causal_effect"] is None and row["n_ablated"] == 0 for row in found)
    assert sum(row["score"] is not None for row in found) == D_SAE // 2
    assert sum(row["selected"] for row in found) == int(0.2 * D_SAE)
    assert "no causal effects for mlp_out" in capsys.readouterr().err
