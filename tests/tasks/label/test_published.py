"""Published explanations as descriptions: those whose published tokens are ours compete with the judge's own."""

import numpy as np
import pytest

from tasks.engine.stage import Stage
from tasks.explain.task import explain_features
from tasks.label.task import label_features
from tasks.settings import ExplainSettings
from tests.neuronpedia_server import NEURONPEDIA_ID, NeuronpediaServer, explanation, feature
from tests.tasks.label.planted_study import LAYER, LETTER, WORD, collected, planted_settings
from tests.warehouse.small_warehouse import row
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow
TOKENS = {WORD: [" a", "b"], LETTER: ["c", "d"]}
"""Feature -> what our logit lens promotes."""
PUBLISHED = {WORD: ["▁a", "▁b"], LETTER: ["x", "y"]}
"""The same at Neuronpedia: that of the letter is another feature."""
TEXTS = {WORD: ["peace and trade", 'mentions  of\n"quartz", "quart"'], LETTER: ["the letter h"]}
QUARTZ = 'mentions of "quartz", "quart"'


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A planted study whose SAE has explanations at a local server: of the word two, of the letter one of another feature."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch, NeuronpediaServer() as server:
        patch.setenv("ATO_WAREHOUSE", str(folder / "warehouse"))
        settings = planted_settings(folder, features={LAYER: [WORD, LETTER]}, scorers=["detection"])
        collection, sae = collected(settings)
        _score(collection, sae)
        texts = [explanation(i, text, typeName=text[:3]) for i, found in TEXTS.items() for text in found]
        server.put("explanations", 0, texts)
        server.put("features", 0, [feature(i, tokens) for i, tokens in PUBLISHED.items()])
        asked = ExplainSettings(ids={LAYER: NEURONPEDIA_ID}, all_features=True, bulk_url=server.url, max_attempts=1)
        explain_features.fn(settings.study(collection), [sae], asked)
        yield settings, collection, sae


def _score(collection, sae):
    """Scores with the tokens that the features promote."""
    stage = Stage(Warehouse(), "feature_scores", "scores", settings={}, inputs=[sae], collection=collection)
    scored = [
        row("feature_scores", sae=sae, layer=LAYER, scoring=stage.key, feature_id=i, score=1.0, rank=n, selected=True)
        | {"collection": collection, "top_tokens": tokens, "top_logits": np.ones(len(tokens)).tolist()}
        for n, (i, tokens) in enumerate(TOKENS.items(), 1)
    ]
    with stage:
        stage.write("feature_scores", scored, sae=sae)


def label(study, **changes):
    settings, collection, sae = study
    return label_features.fn(settings.study(collection), [sae], settings.label.model_copy(update=changes))


def test_only_what_is_believed_competes_and_validation_documents_choose_it_where_it_is_better(study, monkeypatch):
    aligned = rows(None, "select feature_id, aligned from explanations group by all order by feature_id")
    assert {one["feature_id"]: one["aligned"] for one in aligned} == {WORD: True, LETTER: False}
    monkeypatch.setattr("ato.autointerp.overlap_judge.OverlapJudge.distinctive", lambda *_: ["congress"])
    (key,) = label(study, n_published=5)
    found = rows(None, "from feature_descriptions where labelling = ? order by feature_id, candidate", [key])
    told = {(one["feature_id"], one["origin"], one["description"], one["chosen"]) for one in found}
    assert told == {
        (WORD, "judge", '"congress"', False),
        (WORD, f"neuronpedia id-{WORD}-{TEXTS[WORD][0]}", "peace and trade", False),
        (WORD, f"neuronpedia id-{WORD}-{TEXTS[WORD][1]}", QUARTZ, True),
        (LETTER, "judge", '"congress"', True),
    }
    validated = {one["description"]: one["validation_score"] for one in found if one["feature_id"] == WORD}
    assert validated[QUARTZ] == max(validated.values()) == 1.0
    assert {one["validation_score"] for one in found if one["feature_id"] == LETTER} == {None}
    tested = "select distinct candidate from detection_trials where labelling = ? and feature_id = ? and split = 'test'"
    (chosen,) = [one["candidate"] for one in found if one["chosen"] and one["feature_id"] == WORD]
    assert rows(None, tested, [key, WORD]) == [{"candidate": chosen}]
    (score,) = rows(None, "select description, detection from feature_labelled where feature_id = ?", [WORD])
    assert score == {"description": QUARTZ, "detection": 1.0}


def test_without_the_setting_nothing_published_competes_and_the_labelling_is_another(study):
    plain, with_one = label(study), label(study, n_published=1)
    assert plain != with_one
    counted = "select count(*) as n from feature_descriptions where labelling = ? and origin <> 'judge'"
    assert [rows(None, counted, keys)[0]["n"] for keys in (plain, with_one)] == [0, 1]
