"""Entities that are asked a few at a time, under all conditions, say what each says alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tasks.entities.asked
from ato.entities.catalog import Attribute, Entity
from ato.entities.prompts import PromptMaker
from ato.models import load_model
from tasks.entities.answers import Question
from tasks.entities.asked import AskedAgain, _report, ask
from tasks.entities.changes import Changed, Condition
from tasks.settings import EntitySettings
from tests.tiny_models import save_tiny_model

NAMES = ("Ulaanbaatar", "Rome", "Nice", "Ho Chi Minh City", "Bern")


@pytest.fixture
def study(tmp_path, monkeypatch):
    model = load_model(save_tiny_model(tmp_path), dtype="float32", attention="eager")
    for module in ("asked", "answers"):
        monkeypatch.setattr(f"tasks.entities.{module}.language_model", lambda settings: model)
    monkeypatch.setattr("tasks.entities.asked.yes_no_ids", lambda tokenizer: (70, 80))
    return SimpleNamespace(settings=EntitySettings(), study=SimpleNamespace(model=SimpleNamespace(attention="eager")))


@pytest.fixture
def asked(study) -> list[AskedAgain]:
    maker = PromptMaker(tasks.entities.asked.language_model(None).tokenizer, "continuation")
    found = []
    for i, name in enumerate(NAMES):
        entity = Entity("city", name, (Attribute("country", "Somewhere"),), "test")
        question = Question(entity, entity.attributes[0], "city_country")
        prompt = maker.question(entity, "city_country")
        found.append(AskedAgain(question, "known" if i < 3 else "unknown", prompt, _report(maker, question)))
    return found


@pytest.fixture
def conditions() -> list[Condition]:
    row = SimpleNamespace(layer=1, sae="sae")
    changed = [Changed("known", row, i, torch.eye(32)[i], 1.0) for i in range(3)]
    found = [Condition("steer", "known", 0, one, "entity_last_to_end") for one in changed]
    return [Condition(), *found, Condition("ablate", "known", 0, changed[0], "entity_last_to_end", "random_latent")]


def test_entities_asked_in_parts_say_what_each_says_alone(study, asked, conditions, monkeypatch):
    shares: list[float] = []
    monkeypatch.setattr("tasks.entities.asked.ROWS_AT_ONCE", 2 * len(conditions))
    found = ask(study, asked, conditions, advance=shares.append)
    assert shares == pytest.approx([0.4, 0.4, 0.2])
    assert [one.condition for one in found] == conditions
    for one in found:
        assert one.labels == ["known"] * 3 + ["unknown"] * 2
        assert [row["entity_id"] for row in one.rows] == [again.question.entity.entity_id for again in asked]
        for i, again in enumerate(asked):
            (alone,) = ask(study, [again], [one.condition])
            assert one.rows[i]["completion"] == alone.rows[0]["completion"]
            assert one.grades[i] == alone.grades[0]
            np.testing.assert_allclose(one.self_report[i], alone.self_report[0], atol=1e-4)
            np.testing.assert_allclose(one.attention[i], alone.attention[0], atol=1e-5)
    assert np.isfinite(found[-1].self_report).all()
    assert np.isnan(found[-1].attention).all()  # a control
