"""Statements that search for features by their texts: by words, and by meaning with embeddings of the texts.

Both give a row a feature: ``layer, feature_id, kind, source, text, sae, n_found``; by meaning also ``similarity`` (the largest
cosine of the query with one of its texts), ``quantile`` (share of all features that it exceeds) and ``p``, the share of
unrelated queries whose best match among the same texts is as good: (1 + as good) / (1 + queries). Where the first row's
``p`` is large, the search found nothing.
"""

from collections.abc import Iterable

from ato.autointerp.meaning import KINDS
from ato.errors import InputError
from warehouse.catalog.feature_names import FeatureName, feature_name
from warehouse.catalog.marts import quoted_text

_LISTED = """
    semi join (
        select sae, feature_id from list_members
        where kind = 'feature' and collection = {collection} and list = {list}
    ) as listed using (sae, feature_id)"""

_DIGITS = 5
"""Of a query's vector within a statement."""

_WHOLE = "regexp_matches(lower(text), '(^|[^\\pL\\pN])' || regexp_escape(lower({word})) || '([^\\pL\\pN]|$)')"
_NAMED = """    select
        sae, layer, feature_id, 'id' as kind, 'id' as source, feature_id::varchar as text, 0 as place, 1 as number, true as whole
    from feature_stats
    where {filters} and {named}
    union all
    select sae, layer, feature_id, 'id', 'id', feature_id::varchar, 0, 1, true
    from feature_texts
    where {filters} and {named}
    union all
"""
_BY_WORDS = """with matches as (
{by_name}    select sae, layer, feature_id, kind, source, text, list_position({kinds}, kind) as place, number,
        {whole} as whole
    from feature_texts
    where {filters} and {words}
)

select layer, feature_id, kind, source, text, sae, count(*) over () as n_found
from (
    from matches{listed}
    qualify row_number() over (partition by sae, feature_id order by whole desc, place, number) = 1
)
order by whole desc, place, layer, sae, feature_id
limit {shown}"""

_BY_MEANING = """with query as (
    select {vector}::float[] as vector
),

latest as (
    select collection, embedding from latest_embeddings
    where {filters} and is_latest and encoder = {encoder}
),

alike as (
    select
        e.sae, e.layer, e.feature_id, e.kind, e.source, e.text, e.number,
        round(list_cosine_similarity(e.vector, query.vector), 6) as similarity
    from feature_embeddings as e
    semi join latest on latest.collection = e.collection and latest.embedding = e.embedding
    cross join query
),

ranked as (
    select *, (rank() over (order by similarity) - 1) / count(*) over () as quantile
    from (
        from alike
        qualify row_number() over (
            partition by sae, feature_id order by similarity desc, list_position({kinds}, kind), number
        ) = 1
    )
),

best as (
    select *, count(*) over () as n_found
    from ranked{listed}
    order by similarity desc, layer, sae, feature_id
    limit {shown}
),

unrelated as (
    select n.query, max(n.similarity) as similarity
    from embedding_nulls as n
    semi join latest on latest.collection = n.collection and latest.embedding = n.embedding
    group by n.query
),

compared as (
    select
        b.sae, b.feature_id,
        (1 + count(*) filter (u.similarity >= b.similarity)) / (1 + count(*)) as p,
        quantile_cont(u.similarity, 0.95) as unrelated_high,
        count(*) as n_queries
    from best as b
    cross join unrelated as u
    group by b.sae, b.feature_id
)

select
    b.layer, b.feature_id, b.similarity, c.p, b.quantile, b.kind, b.source, b.text, b.sae, b.n_found, c.unrelated_high, c.n_queries
from best as b
inner join compared as c using (sae, feature_id)
order by b.similarity desc, b.layer, b.sae, b.feature_id"""


def by_words(
    text: str,
    collection: str,
    *,
    saes: Iterable[str] = (),
    layer: int | None = None,
    list_: str | None = None,
    shown: int = 200,
) -> str:
    """The statement that finds features of which one text has all the words, whatever the case, or that the text names.

    Texts with them as whole words come first.

    Args:
        text: one or more words, or a feature: its number, ``12/658`` or ``KEY/658``.
        collection: its key.
        saes: keys of SAEs; none: all.
        layer: only this one.
        list_: only features on the list of this name.
        shown: rows at most.

    Raises:
        InputError: there is no word.
    """
    if not text.split():
        raise InputError("there is nothing to search for", cure="give some words")
    words = " and ".join(f"contains(lower(text), lower({quoted_text(word)}))" for word in text.split())
    whole = " and ".join(_WHOLE.format(word=quoted_text(word)) for word in text.split())
    own = {
        "words": words,
        "whole": whole,
        "kinds": list(KINDS),
        "shown": shown,
        "listed": listed_only(collection, list_),
    }
    filters, named = _filters(collection, saes, layer), feature_name(text)
    by_name = "" if named is None else _NAMED.format(filters=filters, named=_named(named))
    return _BY_WORDS.format(filters=filters, by_name=by_name, **own)


def by_meaning(
    vector: Iterable[float],
    encoder: str,
    collection: str,
    *,
    saes: Iterable[str] = (),
    layer: int | None = None,
    list_: str | None = None,
    shown: int = 200,
) -> str:
    """The statement that ranks features by the similarity of their texts to a query.

    Args:
        vector: [d] of the query.
        encoder: name of the encoder that made it.
        collection: its key.
        saes: keys of SAEs; none: all.
        layer: only this one.
        list_: only features on the list of this name.
        shown: rows at most.
    """
    numbers = ", ".join(str(round(float(x), _DIGITS)) for x in vector)
    listed = listed_only(collection, list_)
    own: dict[str, object] = {
        "listed": listed,
        "vector": f"[{numbers}]",
        "encoder": quoted_text(encoder),
        "kinds": list(KINDS),
        "shown": shown,
    }
    return _BY_MEANING.format(filters=_filters(collection, saes, layer), **own)


def listed_only(collection: str, list_: str | None) -> str:
    """A semi join behind the FROM clause that keeps what is on a list, of rows with ``sae`` and ``feature_id``; None: all."""
    return "" if list_ is None else _LISTED.format(collection=quoted_text(collection), list=quoted_text(list_))


def _named(name: FeatureName) -> str:
    found = [f"feature_id = {name.feature_id:d}"]
    if name.layer is not None:
        found.append(f"layer = {name.layer:d}")
    if name.sae is not None:
        found.append(f"sae = {quoted_text(name.sae)}")
    return " and ".join(found)


def _filters(collection: str, saes: Iterable[str], layer: int | None) -> str:
    found = [f"collection = {quoted_text(collection)}"]
    if names := ", ".join(map(quoted_text, saes)):
        found.append(f"sae in ({names})")
    if layer is not None:
        found.append(f"layer = {layer:d}")
    return " and ".join(found)
