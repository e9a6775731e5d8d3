"""The keys of a tiny study's stages, as literals: a change here makes every finished study run again."""

from typing import Any

import pytest

from ato.models import ModelIdentity
from ato.numerics import devices
from ato.saes import save_sae
from flows.settings import Settings
from tasks.causal.task import measure_causal
from tasks.collect.task import collect_residuals
from tasks.engine.stage import Stage
from tasks.evaluate.task import evaluate_operators
from tasks.explain.task import explain_features
from tasks.features.task import measure_features, score_features
from tasks.operators.task import fit_operators
from tasks.saes.task import obtain_saes
from tests.flows.tiny_study import tiny_settings
from tests.tasks.scored_study import random_sae
from tests.warehouse.small_warehouse import commit_stage, row
from warehouse.storage import manifests
from warehouse.storage.warehouse import Warehouse

KEYS = """
collect tiny-corpus-12k-9556afdf
moments moments-4-pairs-635db5e5
sae_weights topk-l02-24-097a7410
saes topk-l02-24-a28ff651
sae_weights pretrained-l03-00590bf9
saes pretrained-l03-02706404
features features-topk-l02-24-2ad29fdd
features features-pretrained-l03-4930da24
feature_scores scores-topk-l02-24-be137c7a
feature_scores scores-pretrained-l03-2b069de9
explain explain-topk-l02-24-a41aba26
explain explain-pretrained-l03-e740e514
operators l00-k01-dec8322f
operators l00-k02-10677556
operators l01-k01-9f2da2a8
operators l01-k02-3e5c57cb
operators l00-k02-features-99425bd2
operators l01-k01-features-d5219af9
evaluate features-l00-k02-de7b7b7a
evaluate features-l01-k01-fe9357af
evaluate features-l00-k02-9788a79c
evaluate features-l01-k01-33ba8798
evaluate features-l01-k02-f0dac7c4
evaluate ranks-l00-k01-d4eaf183
evaluate ranks-l00-k02-f0c643c2
evaluate ranks-l01-k01-bd135c2f
evaluate ranks-l01-k02-8511c252
evaluate map-l00-k01-d694a594
evaluate map-l00-k02-fcedea96
evaluate map-l01-k01-9a8e9d3d
evaluate map-l01-k02-e1f9261c
causal residuals-l00-k02-e153cf7c
causal residuals-l01-k01-364931d1
causal residuals-l01-k02-505e597c
causal features-l00-k02-da33ccb5
causal features-l01-k01-d5cb399f
causal features-l01-k02-8629c62f
"""


@pytest.fixture
def made(tmp_path, monkeypatch) -> list[str]:
    """Stage and key of every stage that is looked up from now on: all of them pass for complete."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setattr(Stage, "complete", True)
    monkeypatch.setattr(
        devices, "_multiplies_bfloat16", lambda device: False
    )  # keys of trained SAEs hold the precision
    monkeypatch.setattr("tasks.collect.task.identify", lambda *_: ModelIdentity("tiny", None, "0123456789abcdef"))
    monkeypatch.setattr("warehouse.datasets.corpora.corpus_hash", lambda *_: "fedcba9876543210")
    found: list[str] = []
    real = manifests.stage_key

    def noted(slug: str, settings: dict[str, Any], inputs: list[str]) -> str:
        key = real(slug, settings, inputs)
        found.append(f"{settings['stage']} {key}")
        return key

    monkeypatch.setattr(manifests, "stage_key", noted)
    return found


def put_results(collection: str, sae_keys: list[str]) -> None:
    """What keys are made from beside settings: SAEs, the features that were selected, those that are most active."""
    warehouse = Warehouse()
    files = warehouse.publish_artifact_folder(lambda folder: save_sae(random_sae(0), folder), "saes", "weights")
    saes = [
        row("saes", collection=collection, sae=key, layer=layer, path="artifacts/saes/weights", neuronpedia_id="m/s")
        for key, layer in zip(sae_keys, (2, 3), strict=True)
    ]
    first, second = ({"collection": collection, "sae": key, "layer": layer} for key, layer in zip(sae_keys, (2, 3)))
    scores = [row("feature_scores", **first, scoring="s-1", feature_id=f, selected=f > 4, rank=9 - f) for f in range(8)]
    stats = [row("feature_stats", **second, feature_id=f, n_active=f) for f in range(3)]
    files += [
        warehouse.write_rows(
            "collections", [row("collections", collection=collection, layers=[0, 1, 2, 3])], "k", collection=collection
        ),
        warehouse.write_rows("saes", saes, "k", collection=collection),
        warehouse.write_rows("feature_scores", scores, "k", collection=collection, sae=sae_keys[0]),
        warehouse.write_rows("feature_stats", stats, "k", collection=collection, sae=sae_keys[1]),
    ]
    commit_stage(warehouse, "collect", files)


def test_the_keys_of_all_stages_are_what_they_were(made, tmp_path, capsys):
    settings = tiny_settings(
        tmp_path,
        model={"name": "models/tiny"},
        collect={"corpus": "text/corpus.jsonl"},
        saes={"layers": [2], "releases": {3: "release:an-sae"}},
        operators={"methods": ["ridge", "permuted", "rrr_features"], "train_fractions": [0.5]},
    )
    look_up(settings)
    printed = capsys.readouterr().err
    assert "4 of 4 pairs are complete" in printed, "a pair with two stages is one pair"
    assert list(dict.fromkeys(made)) == KEYS.split("\n")[1:-1]


def look_up(settings: Settings) -> None:
    s = settings
    collection = collect_residuals.fn(s.model, s.collecting, s.layers, s.operators)
    study = s.study(collection)
    sae_keys = obtain_saes.fn(study, s.saes)
    put_results(collection, sae_keys)
    measure_features.fn(study, sae_keys)
    score_features.fn(study, sae_keys, s.features)
    explain_features.fn(study, sae_keys, s.explain)
    fit_operators.fn(study, sae_keys, s.operators)
    evaluate_operators.fn(study, sae_keys, s.operators, s.evaluate)
    measure_causal.fn(study, sae_keys, s.operators, s.causal)
