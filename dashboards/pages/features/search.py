"""Search among the features: by id, explanation, promoted word or token of an example; a click opens one."""

from dataclasses import dataclass
from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.address import choose, typed
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled

SHOWN = 200
"""Rows of the result."""
ANY = "any"
WHERE = ("everything", "explanations", "examples", "promoted words", "ids")
VERDICTS = (ANY, "transported", "undetermined", "synthesised")


@dataclass(frozen=True)
class Search:
    """What is looked for: see ``statement``."""

    collection: str
    sae: str | None = None
    text: str = ""
    look_in: str = "everything"
    selected: bool = False
    leap: int | None = None
    verdict: str = ANY


def controls(collection: str, saes: list[str]) -> Search:
    """The fields of the search; they stand in the address as ``search``, ``look_in``, ``sae``, ``features``, ``leap``, ``verdict``."""
    first, second, third = st.columns([2, 1, 1])
    text = typed("Search", "search", where=first, placeholder="an id, or words of an explanation, or a token").strip()
    look_in = choose("Look in", "look_in", WHERE, where=second)
    sae = choose("SAE", "sae", [ANY, *saes] if len(saes) > 1 else saes, where=third)
    first, second, third = st.columns([2, 1, 1])
    shown = choose("Features", "features", ("all", "selected"), where=first, widget="segmented_control")
    leaps = ask(filled(LEAPS, collection=collection, saes=saes if sae == ANY else [sae]))["leap"].to_list()
    leap = choose("Leap (layers)", "leap", leaps, where=second)
    verdict = choose("Verdict at this leap", "verdict", VERDICTS, where=third) if leaps else ANY
    return Search(
        collection, None if sae == ANY else sae, text, look_in or WHERE[0], shown == "selected", leap, verdict or ANY
    )


def results(search: Search) -> None:
    """The features that are found, most relevant first."""
    if search.look_in == "ids" and search.text and not search.text.isdecimal():
        st.info(f"An id is a number, not {search.text!r}: look in everything else for words.")
        return
    panel(
        "Features found" if search.text else "Features by score",
        statement(search),
        partial(_table, search=search),
        note=f"At most {SHOWN} rows; a click on a row's first field opens the feature. Exact tokens come first, then by strength: the "
        "largest activation on the token in an example, or the logit of the promoted word; without a search by score, "
        "which only the candidates have (the others are not scored). Verdicts are of the ridge operator at the same position, by leap.",
        empty="No feature fits: try fewer letters, look in everything, or take the filters away. Examples and "
        "promoted words are made by `ato run features`, explanations by `ato run explain`.",
    )


def statement(search: Search) -> str:
    """The SQL of a search: only the steps that it needs."""
    is_id = search.text.isdecimal()
    places = [place for place in MATCHES if search.look_in in ("everything", place) and (place != "ids" or is_id)]
    filters = "collection = $collection" + (" and sae = $sae" if search.sae else "")
    of_verdict = search.verdict != ANY
    template = FIND.format(
        judged=JUDGED.format(filters=filters),
        filters=filters,
        matches="\n    union all\n".join(MATCHES[place].format(filters=filters) for place in places)
        if search.text
        else ALL,
        at_leap=AT_LEAP.format(filters=filters) if of_verdict else "",
        kept="\n    semi join at_leap using (sae, feature_id)" * of_verdict
        + "\n    where f.selected" * search.selected,
    )
    return filled(template, **vars(search), id=int(search.text) if is_id else None)


def _table(rows: pl.DataFrame, search: Search) -> None:
    """The rows; a click opens the row's feature."""
    found, why = rows["n_found"][0], ["found_in", "strength"] if search.text else []
    st.markdown(
        f"**{found:,}** found, the first {rows.height} shown" if found > rows.height else f"**{found:,}** found"
    )
    order = ["feature_id", "layer", *why, "promotes", "explanation", "score", "activation_rate", "verdicts", "sae"]
    st.dataframe(
        rows,
        hide_index=True,
        key="found",
        selection_mode="single-row",
        on_select=partial(_open, rows),
        column_order=order,
        placeholder="not scored",
        column_config={
            "feature_id": st.column_config.NumberColumn("feature", format="%d", width=70),
            "layer": st.column_config.NumberColumn("layer", format="%d", width=60),
            "found_in": st.column_config.TextColumn("found in", width=110),
            "strength": st.column_config.NumberColumn("strength", format="%.3f", width=90, help="Activation or logit"),
            "promotes": st.column_config.ListColumn("promotes", help="Logit lens", width=220),
            "explanation": st.column_config.TextColumn("explanation", width=190),
            "score": st.column_config.NumberColumn("score", format="%.3f", width=90),
            "activation_rate": st.column_config.NumberColumn("activation rate", format="percent", width=110),
            "verdicts": st.column_config.ListColumn("leap: verdict", width=330, help="Of the ridge operators"),
            "sae": st.column_config.TextColumn("SAE"),
        },
    )


def _open(rows: pl.DataFrame) -> None:
    """Put the clicked feature into the address."""
    for place in st.session_state["found"]["selection"]["rows"]:
        open_feature(rows["sae"][place], rows["feature_id"][place])


def open_feature(sae: str, feature_id: int) -> None:
    """Put a feature into the address, which opens it; the SAE that was searched is remembered for the way back."""
    if "feature_id" not in st.query_params:
        st.session_state["searched SAE"] = st.query_params.get("sae")
    st.query_params.update(sae=sae, feature_id=str(feature_id))


LEAPS = """select distinct leap
from operators
where collection = $collection and method = 'ridge' and position_policy = 'same'
    and target_layer in (select layer from saes where collection = $collection and sae in $saes)
order by leap"""
JUDGED = """chosen as (
    select operator
    from operators
    where collection = $collection and method = 'ridge' and position_policy = 'same'
    qualify row_number() over (
        partition by source_layer, target_layer
        order by r2_val desc nulls last, operator
    ) = 1
),

judged as (
    select evaluation, sae, operator
    from latest_evaluations
    semi join chosen using (operator)
    where {filters} and kind = 'feature_transport' and is_latest
)"""
"""CTEs: which evaluations of features count: as in the mart feature_catalog, of which this page reads only what it needs."""
AT_LEAP = """at_leap as (
    select sae, feature_id
    from feature_transport
    semi join judged using (evaluation, sae, operator)
    where {filters} and leap = $leap and verdict = $verdict
),

"""
ALL = "    select sae, feature_id, null as found_in, 0 as place, true as exact, null as strength from features"
MATCHES = {
    "ids": "    select sae, feature_id, 'id' as found_in, 0 as place, true as exact, null as strength\n"
    "    from features\n    where feature_id = $id",
    "explanations": """    select sae, feature_id, 'explanation', 1, true, max(score)
    from explanations
    where {filters} and contains(lower(description), lower($text))
    group by sae, feature_id""",
    "examples": """    select sae, feature_id, 'example', 2, bool_or(trim(lower(token)) = lower($text)), max(activation)
    from (
        select sae, feature_id, unnest(tokens) as token, unnest(activations) as activation
        from feature_examples
        semi join latest using (scoring, sae)
        where {filters} and contains(lower(array_to_string(tokens, ' ')), lower($text))
    )
    where activation > 0 and contains(lower(token), lower($text))
    group by sae, feature_id""",
    "promoted words": """    select sae, feature_id, 'promoted word', 3, bool_or(trim(lower(token)) = lower($text)), max(logit)
    from (
        select sae, feature_id, unnest(top_tokens) as token, unnest(top_logits) as logit
        from scored
        where contains(lower(array_to_string(top_tokens, ' ')), lower($text))
    )
    where contains(lower(token), lower($text))
    group by sae, feature_id""",
}
"""Where to look -> the features that fit: by what, its place among the ways, whether it is the whole word, and how strongly."""
FIND = """with latest as (
    select evaluation as scoring, sae
    from latest_evaluations
    where {filters} and kind = 'feature_scores' and is_latest
),

scored as (
    select sae, layer, feature_id, selected, score, activation_rate, top_tokens, top_logits
    from feature_scores
    semi join latest using (scoring, sae)
    where {filters}
),

features as (
    select
        sae,
        layer,
        feature_id,
        coalesce(s.selected, false) as selected,
        s.score,
        coalesce(t.activation_rate, s.activation_rate) as activation_rate,
        s.top_tokens[:5] as promotes
    from (select sae, layer, feature_id, activation_rate from feature_stats where {filters}) as t
    full join scored as s using (sae, layer, feature_id)
),

{judged},

{at_leap}matches (sae, feature_id, found_in, place, exact, strength) as (
{matches}
),

found as (
    select
        f.*,
        m.place,
        m.exact,
        m.strength,
        m.found_in,
        count(*) over () as n_found
    from (
        from matches
        qualify row_number() over (
            partition by sae, feature_id
            order by exact desc, place, strength desc nulls last
        ) = 1
    ) as m
    inner join features as f using (sae, feature_id){kept}
    order by m.exact desc, m.place, m.strength desc nulls last, f.score desc nulls last, sae, feature_id
    limit 200
),

verdicts as (
    select sae, feature_id, list(leap || ': ' || verdict order by leap) as verdicts
    from feature_transport
    semi join judged using (evaluation, sae, operator)
    semi join found using (sae, feature_id)
    where {filters}
    group by sae, feature_id
),

explained as (
    select sae, feature_id, description as explanation
    from explanations
    semi join found using (sae, feature_id)
    where {filters}
    qualify row_number() over (
        partition by sae, feature_id
        order by aligned desc nulls last, score desc nulls last, source, explanation_id
    ) = 1
)

select
    f.feature_id,
    f.sae,
    f.layer,
    f.promotes,
    coalesce(e.explanation, 'not explained') as explanation,
    f.score,
    f.activation_rate,
    v.verdicts,
    f.found_in,
    f.strength,
    f.n_found
from found as f
left join verdicts as v using (sae, feature_id)
left join explained as e using (sae, feature_id)
order by f.exact desc, f.place, f.strength desc nulls last, f.score desc nulls last, f.sae, f.feature_id"""
