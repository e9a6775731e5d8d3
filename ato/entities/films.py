"""The built-in set of films, from Wikidata."""

import sqlite3
from contextlib import closing

from ato.entities.catalog import Attribute, Entity, without_answers_in_names
from ato.io.embedded import fact_file

_SOURCE = "bokeh_sampledata movies.db: Wikidata, CC0"
_QUERY = """
select o.Title, o.Director, o."Cast", o.Writer, o.Genre, o.Year, o.Runtime, t.Reviews
from omdb o left join tomatoes t on t.ID = o.ID
order by o.ID
"""
_NAMES = ("directors", "cast", "screenwriters", "genres", "release_year", "durations")


def films() -> list[Entity]:
    """Films of 1940 to 2014 with directors, cast, screenwriters, genres, year and minutes.

    Popularity is the number of reviews: the file has no votes.
    """
    entities = []
    with closing(sqlite3.connect(f"{fact_file('films').as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        for title, *values, reviews in database.execute(_QUERY):
            name = " ".join(str(title or "").split())
            attributes = [Attribute(key, _text(value)) for key, value in zip(_NAMES, values) if _text(value)]
            kept = without_answers_in_names(name, attributes)
            entities.append(Entity("movie", name, kept, _SOURCE, None if reviews is None else float(reviews)))
    return entities


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(round(value)) if isinstance(value, float | int) else str(value).strip()
