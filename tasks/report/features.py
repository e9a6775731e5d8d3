"""Features with their top examples, promoted tokens and explanations."""

from html import escape
from itertools import groupby
from typing import Any

from ato.text.display import visible
from ato.text.token_texts import whole_characters
from tasks.report.numbers import number, with_interval
from tasks.report.panels import Panel, Rows, Scope, absent

EXAMPLES = 3
"""Examples per feature."""


def panels(scope: Scope, n_features: int) -> list[Panel]:
    """Feature examples and explanations."""
    return [_examples(scope, n_features), _explanations(scope)]


def _examples(scope: Scope, n_features: int) -> Panel:
    key, title = "feature-examples", "Feature examples"
    sql = f"""with best as (
    select * from feature_catalog
    where {scope.of_collection} and selected
    order by rank, layer, sae
    limit {n_features}
)
select b.layer, b.sae, b.feature_id, b.rank, b.score, b.token_entropy, b.focus_z, b.redundancy, b.causal_effect,
    b.causal_effect_low, b.causal_effect_high, b.n_ablated_documents, b.n_active,
    b.top_tokens, b.explanation, b.explanation_source, b.aligned,
    b.transported_leap, e.rank as example, e.activation, e.tokens, e.activations, e.sequence_id, e.position
from best as b
left join feature_examples as e
    on e.collection = b.collection and e.sae = b.sae and e.feature_id = b.feature_id and e.kind = 'top' and e.rank <= {EXAMPLES}
    and e.scoring in (select evaluation from latest_evaluations where kind = 'feature_scores' and is_latest)
order by b.layer, b.sae, b.rank, e.rank"""
    rows = scope.ask(sql) if n_features else []
    if not rows:
        return absent(key, title, sql, "no features selected yet, run `ato run features`")
    cards = [_card(list(some)) for _, some in groupby(rows, key=lambda r: (r["layer"], r["sae"], r["feature_id"]))]
    return Panel(
        key,
        title,
        sql,
        [{k: v for k, v in row.items() if k not in ("tokens", "activations")} for row in rows],
        caption="The best selected features: top-activating windows of training text, each token shaded by the "
        "feature's activation relative to the largest in the window (hover for the value). Causal effect: rise of the "
        "next-token loss in nats when the feature is ablated, with its 95 % interval by document.",
        n=f"{len(cards)} features, up to {EXAMPLES} examples each",
        alt="Text examples of features, tokens shaded by activation.",
        body="\n".join(cards),
    )


def _card(rows: Rows) -> str:
    f = rows[0]
    facts = [
        f"rank {f['rank']}",
        f"score {number(f['score'])}",
        f"token entropy {number(f['token_entropy'])} nats",
        f"focus {number(f['focus_z'], 1)} sd",
        f"redundancy {number(f['redundancy'])}",
        f"causal effect {with_interval(f, 'causal_effect', 4)} on {f['n_ablated_documents']:,} documents",
    ]
    if f["n_active"] is not None:
        facts.append(f"{f['n_active']:,} active test tokens")
    if f["transported_leap"] is not None:
        facts.append(f"transported up to leap {f['transported_leap']}")
    words = " ".join(f"<code>{escape(visible(token))}</code>" for token in (f["top_tokens"] or [])[:8])
    explained = ""
    if f["explanation"]:
        doubt = {
            True: "",
            False: " (not aligned with our logit lens: may describe another feature)",
            None: " (alignment unknown)",
        }
        explained = (
            f"<p>{escape(f['explanation_source'])}: “{escape(visible(f['explanation']))}”{doubt[f['aligned']]}</p>"
        )
    shown = "\n".join(_window(row) for row in rows if row["tokens"])
    return (
        f'<article class="feature"><h3>layer {f["layer"]}, feature {f["feature_id"]}</h3><p class="note">{"; ".join(facts)}</p>'
        f"<p>promotes {words or '–'}</p>{explained}{shown}</article>"
    )


def _window(row: dict[str, Any]) -> str:
    largest = max(row["activations"], default=0.0) or 1.0
    pieces = whole_characters(row["tokens"])
    values = [max(row["activations"][i] for i in own) for _, own in pieces]
    spans = "".join(
        f'<span style="background:rgba(230,159,0,{max(0.0, value) / largest:.2f})" title="{value:.3f}">{_shown(text)}</span>'
        for (text, _), value in zip(pieces, values)
    )
    where = f"sequence {row['sequence_id']}, position {row['position']}: activation {row['activation']:.3f}"
    return f'<p class="window" title="{where}">{spans}</p>'


def _shown(token: str) -> str:
    return escape(visible(token, keep="\n"))


def _explanations(scope: Scope) -> Panel:
    key, title = "explanations", "Explanations"
    sql = f"""select layer, sae, n_features, n_selected, n_explained, n_selected_explained, n_explanations, n_checked, n_aligned,
    mean_alignment
from explanation_overview
where {scope.of_collection}
order by layer, sae"""
    rows = scope.ask(sql)
    if not rows:
        return absent(
            key,
            title,
            sql,
            "no explanations, run `ato run explain` (needs a published SAE and network access)",
        )
    lines = "".join(
        f"<li>layer {r['layer']}: {r['n_explained']:,} features explained ({r['n_selected_explained']:,} of the "
        f"{r['n_selected']:,} selected); the published top tokens agree with our logit lens for {r['n_aligned']:,} of "
        f"{r['n_checked']:,} that could be checked (mean overlap {number(r['mean_alignment'])})</li>"
        for r in rows
    )
    return Panel(
        key,
        title,
        sql,
        rows,
        caption="An explanation is trusted only if its published top tokens overlap with our logit lens.",
        n=f"{sum(r['n_explanations'] for r in rows):,} explanations",
        alt="Counts of explanations.",
        body=f"<ul>{lines}</ul>",
    )
