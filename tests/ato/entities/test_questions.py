"""Every template is whole, and the study's swapped relations are mended."""

import pytest

from ato.entities.graders import GRADERS
from ato.entities.questions import IS_KNOWN, TEMPLATES


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)
def test_every_template_names_the_entity_in_each_form(template):
    assert template.question.count("'{entity}'") == 1
    assert template.short_question.count("{entity}") == 1
    assert template.question.endswith("?")
    assert template.relation == template.relation.strip() != ""
    if template.attribute != IS_KNOWN:
        assert template.continuation.count("'{entity}'") == 1
        assert template.continuation.endswith((" is", " are"))
        assert template.prefill.endswith("=")
        assert template.grader in GRADERS


def test_all_of_the_study_and_the_types_of_the_built_in_sets_are_there():
    by_type = {
        t.entity_type: sum(o.entity_type == t.entity_type for o in TEMPLATES.values()) - 1 for t in TEMPLATES.values()
    }
    assert by_type == {"player": 5, "movie": 6, "city": 4, "song": 4, "person": 2, "work": 2, "country": 3}


def test_relations_of_birth_are_not_swapped():
    assert TEMPLATES["player_date_birth"].relation == "was born in the year"
    assert TEMPLATES["player_place_birth"].relation == "was born in the city of"
