"""The report's head: model, corpus, tokens kept, SAEs, and caveats."""

from html import escape
from typing import Any

from tasks.report.numbers import extent, number, with_interval
from tasks.report.panels import Panel, Rows, Scope, absent

_SAES = '<h2 id="saes">Sparse autoencoders</h2>'


def head(scope: Scope) -> str:
    """The head as HTML.

    The collection must be in the warehouse.
    """
    (c,) = scope.ask(f"from collections where {scope.of_collection}")
    (o,) = scope.ask(f"from collection_overview where {scope.of_collection}")
    saes = sae_table(scope).rows
    dropped = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in c["dropped_by_reason"].items()) or "none"
    splits = ", ".join(
        f"{name} {o[f'n_tokens_{name}']:,} of {o[f'n_documents_{name}']:,} documents"
        for name in ("train", "val", "test")
    )
    facts = {
        "model": f"{c['model']}{' @ ' + c['revision'] if c['revision'] else ''} (weights {c['weights_hash']}), "
        f"{c['n_layers']} blocks, d = {c['d_model']}, {c['dtype']}, read at {c['site']}",
        "corpus": f"{c['corpus']} ({c['corpus_hash']})",
        "tokens": f"{c['n_tokens']:,} in {c['n_sequences']:,} sequences of at most {c['seq_len']} tokens from "
        f"{c['n_documents']:,} documents; {c['n_kept']:,} kept; dropped: {dropped}",
        "split by document": splits,
        "operators": f"{o['n_operators']:,} for {o['n_pairs']:,} layer pairs; figures show method {scope.method}, "
        f"position policy {scope.position_policy}",
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return f"<dl>{listed}</dl>{_saes(saes)}{_flags(scope, c, saes)}"


def sae_table(scope: Scope) -> Panel:
    """The autoencoders as rows of one statement."""
    sql = f"""select layer, sae, site, architecture, d_sae, l0, fvu, fvu_low, fvu_high, ce_recovered, ce_recovered_low,
    ce_recovered_high, dead_share, n_tokens, trusted, distrust_reason, warning
from saes
where {scope.of_collection}
order by layer, sae"""
    rows = scope.ask(sql)
    if not rows:
        return absent("saes", "Sparse autoencoders", sql, "no SAEs yet, run `ato run saes`")
    caption = "FVU: share of the residual's variance that the SAE does not explain, on held-out tokens; 95 % intervals by document."
    n = f"{len(rows)} SAEs, {extent(rows, 'n_tokens')} tokens"
    return Panel("saes", "Sparse autoencoders", sql, rows, caption, n, "Table of the SAEs.")


def _saes(saes: Rows) -> str:
    if not saes:
        return f'{_SAES}<p class="absent">No SAEs yet, run <code>ato run saes</code>.</p>'
    columns = ("layer", "site", "architecture", "features", "L0", "FVU", "loss recovered", "dead", "tokens", "trusted")
    lines = [
        (
            s["layer"],
            s["site"],
            s["architecture"],
            f"{s['d_sae']:,}",
            number(s["l0"], 1),
            with_interval(s, "fvu"),
            with_interval(s, "ce_recovered"),
            f"{s['dead_share']:.1%}",
            f"{s['n_tokens']:,}",
            "; ".join(
                part for part in ("yes" if s["trusted"] else f"no: {s['distrust_reason']}", s["warning"]) if part
            ),
        )
        for s in saes
    ]
    return f"{_SAES}{html_table(columns, lines)}"


def html_table(columns: Any, lines: Any) -> str:
    """An HTML table that scrolls sideways if it is too wide."""
    top = "".join(f"<th>{escape(str(name))}</th>" for name in columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(str(v))}</td>" for v in line) + "</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'


def _flags(scope: Scope, c: dict[str, Any], saes: Rows) -> str:
    """Caveats for the numbers of this collection, one line each."""
    (edge,) = scope.ask(
        "select count(*) filter (where alpha_at_edge) as at_edge, count(*) filter (where few_tokens) as few, count(*) "
        f"as n from operators where {scope.of_collection}"
    )
    (bracket,) = scope.ask(
        "select count(*) filter (where bracket_wide) as wide, count(*) as n from efficiency_curves "
        f"where {scope.of_collection} and is_latest"
    )
    (checks,) = scope.ask(
        "select count(*) as n, count(*) filter (where not success) as failed from quality_results where "
        f"{scope.of_collection}"
    )
    untrusted = sum(not sae["trusted"] for sae in saes)
    flags = [f"{checks['n']:,} quality checks, {checks['failed']:,} failed"]
    if c["fewer_tokens_than_dimensions"]:
        flags.append("fewer train tokens than dimensions: in-sample numbers are uninformative")
    flags += c["warnings"] or []
    if edge["few"]:
        flags.append(f"{edge['few']:,} of {edge['n']:,} operators have fewer than 10 train tokens per dimension")
    if edge["at_edge"]:
        flags.append(f"{edge['at_edge']:,} of {edge['n']:,} operators chose an alpha at the edge of the grid")
    if bracket["wide"]:
        flags.append(f"{bracket['wide']:,} of {bracket['n']:,} ceilings have a bracket wider than 0.05")
    if untrusted:
        flags.append(f"{untrusted} of {len(saes)} SAEs fail a quality threshold")
    return '<h2 id="quality">Quality</h2><ul>' + "".join(f"<li>{escape(flag)}</li>" for flag in flags) + "</ul>"
