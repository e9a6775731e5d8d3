"""What is asked about entities: a template for each type and attribute, with the grader of its answers.

Wording and graders follow the study "Do I Know This Entity?" (arXiv 2411.14257, code under Apache-2.0), whose relations of
birth date and birthplace were swapped and are mended here; people, works and countries are added.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Template:
    """A question about one attribute of one type of entity, in the forms in which it is put; ``{entity}`` is the name."""

    entity_type: str
    attribute: str
    question: str
    """For chat models, and in front of the continuation."""
    continuation: str
    """What a base model goes on with; empty for ``is_known``."""
    prefill: str
    """Beginning of the answer of a chat model."""
    relation: str
    """Between name and answer: ``The city X`` *is located in*."""
    short_question: str
    """One clause, as refusals are counted on."""
    grader: str
    """Key of ``graders.GRADERS``; ``none`` for ``is_known``."""
    tolerance: float = 0.0
    """Largest difference that is right: in units of the attribute, for ``percent`` as a share."""

    @property
    def name(self) -> str:
        """``<type>_<attribute>``."""
        return f"{self.entity_type}_{self.attribute}"


IS_KNOWN = "is_known"
"""The attribute that asks whether the model knows the entity at all."""

# type, attribute: question | continuation | prefill | relation | short question | grader | tolerance
_TABLE = """
player place_birth: What is the place of birth for the player '{entity}'? | The city of birth for the player '{entity}' is | City of birth= | was born in the city of | Where was the player {entity} born? | name | 0
player date_birth: What is the year of birth for the player '{entity}'? | The year of birth for the player '{entity}' is | Year of birth= | was born in the year | When was the player {entity} born? | number | 5
player teams_list: What team (name at least one) signed the player '{entity}'? | The team that signed the player '{entity}' is | Team= | has played for | In which teams has the player {entity} played? | name | 0
player weight: What is the weight, in kg, of the player '{entity}'? | The weight of the player '{entity}' is | Weight= | weighs, in kg, | What is the weight of the player {entity}? | number | 5
player height: What is the height, in cm, of the player '{entity}'? | The height of the player '{entity}' is | Height= | has a height, in cm, of | What is the height of the player {entity}? | number | 3
movie directors: Who is the director of the movie '{entity}'? | The director of the movie '{entity}' is | Director= | is directed by | Who directed the movie {entity}? | person | 0
movie cast: What is the name of an actor starring in the movie '{entity}'? | The actor starring in the movie '{entity}' is | Actor= | has starring | Who is starring in the movie {entity}? | person | 0
movie screenwriters: Who is the screenwriter of the movie '{entity}'? | The screenwriter of the movie '{entity}' is | Screenwriter= | is written by | Who wrote the movie {entity}? | person | 0
movie genres: What genre label best describes the movie '{entity}'? | The genre label that best describes the movie '{entity}' is | Genre= | has the genre | What is the genre of the movie {entity}? | genre | 0
movie release_year: What was the release year for the movie '{entity}'? | The release year for the movie '{entity}' is | Release year= | was released in | What is the release year of the movie {entity}? | number | 2
movie durations: What is the duration, in minutes, of the movie '{entity}'? | The duration of the movie '{entity}' is | Duration(minutes)= | has a duration of | What is the duration of the movie {entity}? | number_in_list | 3
city country: What country contains the city of '{entity}'? | The country that contains the city '{entity}' is | Country (official name)= | is located in | In which country is the city {entity}? | name | 0
city location: What geographic coordinates correspond to the city of '{entity}'? | The geographic coordinates that correspond to the city '{entity}' are | Latitude= | is at the coordinates | What are the coordinates of the city {entity}? | geo | 1
city population: How large, in number, is the population of the city '{entity}'? | The population of the city '{entity}' is | Population= | has a population of | What is the population of the city {entity}? | percent | 0.1
city elevation: What is the altitude, in meters, of the city '{entity}'? | The altitude of the city '{entity}' is | Altitude= | is at an elevation of | What is the elevation of the city {entity}? | number | 20
song album: What is the album of the song '{entity}'? | The album of the song '{entity}' is | Album= | appears in the album | In which album does the song {entity} appear? | name | 0
song publication_year: What is the publication year of the song '{entity}'? | The publication year for the song '{entity}' is | Publication year= | was released in | What is the release year of the song {entity}? | number | 0
song genres: What is the genre of the song '{entity}'? | The genre label that best describes the song '{entity}' is | Genre= | has the genre | What is the genre of the song {entity}? | genre | 0
song performers: Who is the performer of the song '{entity}'? | The performer of the song '{entity}' is | Performer= | is sung by | Who is the singer of the song {entity}? | person | 0
person birth_year: What is the year of birth of the person '{entity}'? | The year of birth of the person '{entity}' is | Year of birth= | was born in the year | When was the person {entity} born? | number | 5
person occupation: What is the occupation of the person '{entity}'? | The occupation of the person '{entity}' is | Occupation= | is known as a | What was the occupation of the person {entity}? | name | 0
work creator: Who created the work '{entity}'? | The creator of the work '{entity}' is | Creator= | was created by | Who created the work {entity}? | person | 0
work year: In what year was the work '{entity}' first published or shown? | The year in which the work '{entity}' was first published or shown is | Year= | first appeared in the year | What is the year of the work {entity}? | number | 2
country capital: What is the capital of the country '{entity}'? | The capital of the country '{entity}' is | Capital= | has the capital | What is the capital of the country {entity}? | name | 0
country population: How large, in number, is the population of the country '{entity}'? | The population of the country '{entity}' is | Population= | has a population of | What is the population of the country {entity}? | percent | 0.1
country continent: On which continent is the country '{entity}'? | The continent of the country '{entity}' is | Continent= | is on the continent | On which continent is the country {entity}? | name | 0
"""  # noqa: E501


def _templates() -> dict[str, Template]:
    found = []
    for line in _TABLE.strip().splitlines():
        head, _, forms = line.partition(": ")
        entity_type, attribute = head.split()
        question, continuation, prefill, relation, short, grader, tolerance = (f.strip() for f in forms.split("|"))
        own = (question, continuation, prefill, relation, short, grader)
        found.append(Template(entity_type, attribute, *own, float(tolerance)))
    for entity_type in dict.fromkeys(template.entity_type for template in found):
        question = f"Do you know the {entity_type} '{{entity}}'?"
        found.append(Template(entity_type, IS_KNOWN, question, "", "", "is known", question.replace("'", ""), "none"))
    return {template.name: template for template in found}


TEMPLATES: Mapping[str, Template] = _templates()
"""``<type>_<attribute>`` -> template; ``<type>_is_known`` asks for no attribute and is asked on demand only."""


def template_name(entity_type: str, attribute: str) -> str:
    """Name of the template that asks a type for an attribute, whether or not there is one."""
    return f"{entity_type}_{attribute}"
