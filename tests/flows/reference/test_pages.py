"""The pages of reference are those that the declarations give, and no setting or table is without a meaning."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from ato.errors import SettingsError
from flows.commands.settings import describe_settings
from flows.reference.glossary_page import glossary_page, terms
from flows.reference.settings_list import groups
from flows.reference.settings_page import settings_page
from flows.settings import Settings, load_settings

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(("name", "made"), [("settings", settings_page), ("glossary", glossary_page)])
def test_a_page_is_the_one_that_the_declarations_give(name, made):
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert page == made(), f"run: python -m flows.reference.{name}_page > docs/{name}.md"


def _paths(of: type[BaseModel], above: str = "") -> list[str]:
    found = []
    for name, field in of.model_fields.items():
        inner = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        found += _paths(field.annotation, f"{above}{name}.") if inner else [f"{above}{name}"]
    return found


def test_every_setting_stands_on_the_page_once_with_a_meaning():
    listed = [setting for group in groups() for setting in group.settings]
    assert sorted(setting.path for setting in listed) == sorted(_paths(Settings))
    assert all(setting.meaning and setting.type for setting in listed)


def test_a_default_is_written_as_it_is_read():
    overrides = [f"{setting.path}={setting.default}" for group in groups() for setting in group.settings]
    assert load_settings("demo", overrides) == Settings()


def test_the_words_of_the_results_have_entries():
    names = [term.name for term in terms()]
    assert {"leap", "skill", "verdict", "efficiency", "ceiling", "transported", "computed"} <= set(names)
    assert len(names) == len(set(names))


def test_settings_are_printed_by_group_and_an_unknown_group_is_refused_with_those_that_there_are(capsys):
    describe_settings("entities")
    printed = capsys.readouterr().out
    assert "entities.answers.n_samples" in printed
    assert "collect." not in printed
    with pytest.raises(SettingsError, match="choose from model, collect"):
        describe_settings("nothing")


def test_a_wrong_setting_names_the_page():
    with pytest.raises(SettingsError, match="`ato settings collect`"):
        load_settings("demo", ["collect.seq_len=1"])
