"""Pages ``compare/KIND``: any two things of one kind side by side, in the panels of the dashboard.

The address names them as there: ``left=KIND:ID&right=KIND:ID``, with ``@COLLECTION`` where a thing is of another one.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from dashboards.site.declarations import Choice, Column, Link, Page, Panel
from dashboards.ui.declared import TO_FEATURE, TO_OPERATOR
from dashboards.views.compare.fields import NAMES
from dashboards.views.compare.two import PANELS
from warehouse.catalog.compared.kinds import KINDS, Kind

NEEDS = {
    "feature": "feature_catalog",
    "operator": "operators",
    "sae": "saes",
    "collection": "collections",
    "entity": "entity_knowledge",
    "graph": "graph_summary",
}
"""Kind -> table or mart without whose rows there is none of it."""
LEADS = {
    "feature": TO_FEATURE,
    "operator": TO_OPERATOR,
    "sae": Link("saes", {"sae": "sae"}),
    "collection": Link("findings", {}),
    "entity": Link("entities", {"entity": "entity_id"}),
    "graph": Link("graphs", {"prompt": "prompt", "graph_kind": "graph_kind"}),
}
"""Kind -> the page of a thing; its collection is added."""
WANTED = "(values ('left', $left::varchar), ('right', $right::varchar)) as w(side, address)"
NEAREST = "row_number() over (partition by w.side order by k.collection <> $collection, k.collection) = 1"
THINGS = f"""with known as (
    select '{{kind}}:' || id as address, *
    from (
{{known}}
    )
)

select w.side, {{title}} as title, {{values}}
from {WANTED}
inner join known as k on w.address in (k.address, k.address || '@' || k.collection{{or_by}})
qualify {NEAREST}
order by w.side"""
FEATURES = f"""with known as (
{{known}}
),

wanted as (
    select side, regexp_extract(address, '^feature:(.+)/([0-9]+)(@.+)?$', ['sae', 'number', 'collection']) as name
    from {WANTED}
)

select w.side, {{title}} as title, {{values}}
from (select side, name.sae as sae, try_cast(name.number as integer) as feature_id, name.collection as at from wanted) as w
inner join known as k on w.sae in (k.sae, 'L' || k.layer) and w.at in ('', '@' || k.collection)
where w.feature_id < coalesce(k.d_sae, w.feature_id + 1)
qualify {NEAREST.replace("k.collection)", "k.collection, k.place)")}
    and count(*) over (partition by w.side, k.collection, k.place) = 1
order by w.side"""
"""A layer names a feature where one SAE reads it."""
TITLES = {
    "feature": "'feature ' || w.feature_id || ' of ' || k.sae",
    "operator": "k.shown || ', ' || k.id",
}
"""Kind -> what a thing is called; default: as it is offered."""


def compare_pages(with_text: bool, several: bool) -> tuple[Page, ...]:
    """A page for each kind of thing.

    Args:
        with_text: whether pages may show text of the corpus.
        several: whether there are several collections, which can be compared.
    """
    return tuple(_page(kind, with_text) for kind in KINDS.values() if several or kind.name != "collection")


def _page(kind: Kind, with_text: bool) -> Page:
    panels = [replace(panel, sql=_published(panel.sql)) for panel in PANELS[kind.name]]
    panels = [panel for panel in panels if with_text or panel.view != "windows"]
    sides = _sides(kind, panels)
    offered = kind.offered.replace("select ", f"select '{kind.name}:' || ", 1)
    left = Choice(
        "left",
        "Left",
        offered,
        "text" if kind.name == "feature" else "list",
        empty=kind.example,
        prefix=f"{kind.name}:",
    )
    return Page(
        f"compare/{kind.name}",
        "Compare",
        f"What differs between two {kind.plural}, and is the difference larger than its interval?",
        (left, replace(left, name="right", label="Right", unlike="left")),
        (
            Panel(
                "Left and right",
                sides,
                note="Other names can stand in the address: `left=KIND:ID`, with `@COLLECTION` where it is of another one.",
                empty="Nothing of these names.",
                view="facts",
                columns=(Column("side", "side"), Column("title", "name"), Column("collection", "collection")),
                link=replace(LEADS[kind.name], columns=LEADS[kind.name].columns | {"collection": "collection"}),
            ),
            *panels,
        ),
        needs=NEEDS[kind.name],
        kind=NAMES[kind.name],
        sides=sides,
    )


def _published(sql: str) -> str:
    """A statement over what is published of r2: of operators that differ in their strength alone the best one, in one mart."""
    return re.sub(r"\b(from|join) feature_transport\b", r"\1 feature_profile", sql)


def _sides(kind: Kind, panels: Iterable[Panel]) -> str:
    """The statement of what the address names: a row a side, with all that statements about it name."""
    asked = {name for panel in panels for name in re.findall(r"\$(?:left|right)_(\w+)", panel.sql)}
    found = FEATURES if kind.name == "feature" else THINGS
    of_side = {"feature_id": "w.feature_id"} if kind.name == "feature" else {}
    return found.format(
        kind=kind.name,
        known=kind.known,
        title=TITLES.get(kind.name, "k.shown"),
        values=", ".join(of_side.get(name, f"k.{name}") for name in sorted(asked | {"collection"})),
        or_by=", 'entity:' || k.entity_id" if kind.name == "entity" else "",
    )
