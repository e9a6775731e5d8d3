"""Feature scores as the JSON files of the study hold what the tables hold."""

import json

import pytest

from ato.errors import InputError
from flows.commands.export import export_feature_scores
from tasks.features.task import score_features
from tests.tasks.scored_study import D_SAE, add_sae, collected, random_sae
from warehouse.catalog.catalog import rows
from warehouse.catalog.lookups import selected_features
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Collection and SAE keys of layers 2 and 3, scored."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings, collection = collected(folder)
        keys = [add_sae(Warehouse(), collection, layer, random_sae(layer)) for layer in (2, 3)]
        with pytest.raises(InputError, match="no feature scores"):
            export_feature_scores(collection, folder)

        def score(*keys: str, **changes: object) -> None:
            features = settings.features.model_copy(update=changes)
            score_features.fn(settings.study(collection), list(keys), features)

        score(*keys, top_percent=50.0)
        score(*keys)
        yield collection, keys, score


def test_each_sae_has_a_file_with_ranked_ids_all_scores_and_their_origin(study, tmp_path):
    collection, keys, _ = study
    paths = export_feature_scores(collection, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["feature_scores_2.json", "feature_scores_3.json"]
    (origin,) = rows(None, "from collections")
    for path, key in zip(paths, keys, strict=True):
        content = json.loads(path.read_text())
        assert content["high_quality_feature_ids"] == selected_features(Warehouse(), collection, key).tolist()
        assert list(content["scores"]) == [str(f) for f in range(D_SAE)]
        latest = content["meta"]["scoring"]
        for row in rows(None, "from feature_scores where scoring = ?", [latest]):
            exported = content["scores"][str(row["feature_id"])]
            assert exported == {name: row[name] for name in exported}
            assert {"token_entropy", "focus_z", "redundancy", "deadness", "causal_effect", "score"} <= exported.keys()
        meta = content["meta"]
        assert (meta["model_weights_hash"], meta["corpus_hash"]) == (origin["weights_hash"], origin["corpus_hash"])
        assert (meta["sae"], meta["eval_tokens"], meta["settings"]["top_percent"]) == (key, 3_000, 20.0)
        assert len(meta["candidate_features"]) == D_SAE // 2
        pre_scores = [content["scores"][str(f)]["pre_score"] for f in meta["candidate_features"]]
        assert pre_scores == sorted(pre_scores, reverse=True)


def test_one_layer_can_be_exported_alone(study, tmp_path):
    (path,) = export_feature_scores(study[0], tmp_path, layer=3)
    assert path.name == "feature_scores_3.json"
    with pytest.raises(InputError, match="no feature scores of layer 4"):
        export_feature_scores(study[0], tmp_path, layer=4)


def test_several_saes_of_a_layer_have_files_of_their_own(study, tmp_path):
    collection, keys, score = study
    other = add_sae(Warehouse(), collection, 2, random_sae(7))
    score(other)
    names = {path.name for path in export_feature_scores(collection, tmp_path, layer=2)}
    assert names == {f"feature_scores_2_{keys[0]}.json", f"feature_scores_2_{other}.json"}


def test_an_unknown_collection_is_refused(study, tmp_path):
    with pytest.raises(InputError, match="no complete collection"):
        export_feature_scores("nothing", tmp_path)
