"""Numbers and coordinates as answers write them: thousands, millions, signs, years before Christ, hours, hemispheres."""

import re

_NUMBER = re.compile(
    r"(?<![\w.])(?P<sign>(?<![\d)])[-−–])?(?P<number>\d{1,3}(?:[,\u202f\u00a0 ]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?!\d|(?:s|st|nd|rd|th)\b)"
    r"(?:\s*(?P<scale>thousand|million|billion|mln|bn|[kKM](?![\w²³])))?"
    r"(?:\s*(?P<before_christ>BCE?\b|B\.C\.))?"
)
_SCALES = {"thousand": 1e3, "k": 1e3, "million": 1e6, "mln": 1e6, "m": 1e6, "billion": 1e9, "bn": 1e9}
_HOURS = re.compile(
    r"(?<![\w.])(\d+)\s*(?:h|hrs?|hours?)\b[\s,]*(?:and\s+)?(?:(\d+)\s*(?:m|mins?|minutes?)?\b)?", re.IGNORECASE
)
_CLOCK = re.compile(r"(?<![\w:.])(\d):([0-5]\d)(?::[0-5]\d)?(?![\w:])")
_RANGE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*(?:to|or|-|–)\s*(\d+(?:\.\d+)?)\s*(thousand|million|billion)\b")
_SECONDS = re.compile(r"\b\d+\s*(?:s|secs?|seconds?)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[^\d\s][.!?])\s+(?=[A-Z])|(?<=\d[.!?])\s+(?=[A-Z])|\n+")
_ABBREVIATION = re.compile(r"\b(?:St|Mt|Ft|approx|ca|c|est|pop|No|B\.C|A\.D)\.$", re.IGNORECASE)
_COORDINATE = re.compile(
    r"(?:\b(?P<front>[NSEW])\s*)?(?<![\d.])(?P<sign>[-−+–])?\s?(?P<degrees>\d{1,3}(?:\.\d+)?)(?![\d.]*\d)\s*"
    r"(?:(?P<unit>°|º|degrees?\b|deg\b)\s*"
    r"(?:(?P<minutes>\d{1,2}(?:\.\d+)?)\s*(?:['′’]|minutes?\b|min\b)\s*"
    r"(?:(?P<seconds>\d{1,2}(?:\.\d+)?)\s*(?:\"|″|”|''|′′|seconds?\b|sec\b)\s*)?)?)?"
    r"(?(front)|(?P<side>[NSEW](?![\w])|(?i:north|south|east|west)(?![\w]))?)"
)


def numbers_in(text: str) -> list[float]:
    """Every number of a text, in order: ``2,165,423``, ``-5``, ``1.5 million``, ``384 BC`` (negative).

    Ordinals (``19th``), decades (``1950s``) and digits within words are none.
    """
    found = []
    for match in _NUMBER.finditer(_RANGE.sub(r"\1 \3 \2 \3", text)):
        value = float(re.sub(r"[^\d.]", "", match["number"])) * _SCALES.get((match["scale"] or "").lower(), 1.0)
        found.append(-value if match["sign"] or match["before_christ"] else value)
    return found


def numbers_of_answer(text: str) -> list[float]:
    """Numbers of the first sentence that has any: what follows is about something else."""
    return next((numbers for sentence in _sentences(text) if (numbers := numbers_in(sentence))), [])


def minutes_of_answer(text: str) -> list[float]:
    """The same, with ``1 hour 45 minutes``, ``1h45`` or ``1:45`` as minutes."""

    def in_minutes(match: re.Match[str]) -> str:
        return f" {60 * int(match[1]) + int(match[2] or 0)} minutes "

    text = _CLOCK.sub(in_minutes, text)
    return numbers_of_answer(_HOURS.sub(in_minutes, _SECONDS.sub(" ", text)))


def point(text: str) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees of ``Point(lon lat)``; None if it is none."""
    match = re.fullmatch(r"\s*point\s*\(\s*(-?[\d.]+(?:e-?\d+)?)\s+(-?[\d.]+(?:e-?\d+)?)\s*\)\s*", text, re.IGNORECASE)
    return (float(match[2]), float(match[1])) if match else None


def coordinates_in(text: str) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees as an answer gives them, None where either is missing.

    A hemisphere says which of the two a number is, and its sign; numbers without one are latitude, then longitude, unless
    the word longitude stands in front of the first.
    """
    latitude = longitude = None
    unlabelled = []
    for match in _COORDINATE.finditer(text):
        value = float(match["degrees"]) + float(match["minutes"] or 0) / 60 + float(match["seconds"] or 0) / 3600
        side = (match["front"] or match["side"] or "")[:1].upper()
        value = -value if side in ("S", "W") or (not side and match["sign"] in ("-", "−", "–")) else value
        if side in ("N", "S"):
            latitude = value if latitude is None else latitude
        elif side in ("E", "W"):
            longitude = value if longitude is None else longitude
        else:
            unlabelled.append(value)
    swapped = re.search(r"longitude.*\d.*latitude", text.lower().split("\n")[0]) is not None
    if latitude is None and longitude is None and swapped and len(unlabelled) > 1:
        longitude, latitude = unlabelled[:2]
    elif latitude is None or longitude is None:
        latitude = unlabelled.pop(0) if latitude is None and unlabelled else latitude
        longitude = unlabelled.pop(0) if longitude is None and unlabelled else longitude
    if latitude is None or longitude is None:
        return None
    return latitude, longitude


def _sentences(text: str) -> list[str]:
    sentences: list[str] = []
    for part in _SENTENCE.split(text):
        if sentences and _ABBREVIATION.search(sentences[-1]):
            sentences[-1] += f" {part}"
        else:
            sentences.append(part)
    return sentences
