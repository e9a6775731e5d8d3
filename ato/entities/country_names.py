"""Names that mean the same country, and longer names that only contain one."""

_SAME = (
    ("United States", "United States of America", "US", "USA", "America"),
    ("China", "People's Republic of China", "PRC", "Mainland China"),
    ("United Kingdom", "UK", "Great Britain", "Britain", "United Kingdom of Great Britain and Northern Ireland", "England"),
    ("Russia", "Russian Federation"),
    ("South Korea", "Republic of Korea", "Korea"),
    ("North Korea", "Democratic People's Republic of Korea", "DPRK"),
    ("Democratic Republic of the Congo", "DR Congo", "DRC", "Congo-Kinshasa", "Zaire"),
    ("Republic of the Congo", "Congo-Brazzaville", "Congo Republic"),
    ("Ivory Coast", "Côte d'Ivoire"),
    ("Czechia", "Czech Republic"),
    ("The Netherlands", "Netherlands", "Holland", "Kingdom of the Netherlands"),
    ("Myanmar", "Burma"),
    ("Eswatini", "Swaziland"),
    ("Cabo Verde", "Cape Verde"),
    ("Timor Leste", "East Timor"),
    ("North Macedonia", "Macedonia", "Republic of Macedonia"),
    ("Turkey", "Türkiye", "Republic of Turkey"),
    ("Vatican", "Vatican City", "Holy See"),
    ("United Arab Emirates", "UAE", "Emirates"),
    ("Palestinian Territory", "Palestine", "State of Palestine", "West Bank", "Gaza Strip"),
    ("Taiwan", "Republic of China"),
    ("Iran", "Islamic Republic of Iran", "Persia"),
    ("Syria", "Syrian Arab Republic"),
    ("Vietnam", "Viet Nam"),
    ("Laos", "Lao People's Democratic Republic"),
    ("Moldova", "Republic of Moldova"),
    ("Brunei", "Brunei Darussalam"),
    ("Macao", "Macau"),
    ("Micronesia", "Federated States of Micronesia"),
    ("Bosnia and Herzegovina", "Bosnia", "Bosnia-Herzegovina"),
    ("Germany", "Federal Republic of Germany"),
    ("France", "French Republic"),
    ("Ireland", "Republic of Ireland"),
    ("Mexico", "United Mexican States"),
    ("Bahamas", "The Bahamas"),
    ("Gambia", "The Gambia"),
    ("U.S. Virgin Islands", "United States Virgin Islands"),
)  # fmt: skip
_GROUPS = {name.casefold(): group for group in _SAME for name in group}

LONGER_NAMES = (
    "People's Republic of China", "Mainland China", "Republic of China", "Democratic Republic of the Congo", "Dominican Republic",
    "Democratic People's Republic of Korea", "North Korea", "Equatorial Guinea", "Guinea-Bissau", "Guinea Bissau", "Papua New Guinea",
    "New Guinea", "South Sudan", "American Samoa", "Northern Ireland", "New Mexico", "New England", "New South Wales",
    "British Virgin Islands", "United States Virgin Islands", "United States Minor Outlying Islands", "South Georgia", "French Guiana",
    "Sint Maarten", "Inner Mongolia", "New Jersey", "West Virginia", "Latin America", "South America", "North America", "Central America",
)  # fmt: skip
"""Names of places that contain the name of another country: Sudan is not named by ``South Sudan``."""


def country_aliases(name: str) -> tuple[str, ...]:
    """Other common names of a country, none where only one is common."""
    return tuple(other for other in _GROUPS.get(name.casefold(), ()) if other.casefold() != name.casefold())
