"""The report's head: which model read which text, what was kept, the SAEs, and what to be careful about."""

from html import escape
from typing import Any

from tasks.report.panels import Rows, Scope, number, with_interval


def head(scope: Scope) -> str:
    """The head as HTML.

    The collection must be in the warehouse.
    """
    (c,) = scope.ask(f"from collections where {scope.of_collection}")
    (o,) = scope.ask(f"from collection_overview where {scope.of_collection}")
    saes = scope.ask(f"from saes where {scope.of_collection} order by layer, sae")
    dropped = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in c["dropped_by_reason"].items()) or "none"
    splits = ", ".join(
        f"{name} {o[f'n_tokens_{name}']:,} of {o[f'n_documents_{name}']:,} documents"
        for name in ("train", "val", "test")
    )
    facts = {
        "model": f"{c['model']}{' @ ' + c['revision'] if c['revision'] else ''} (weights {c['weights_hash']}), {c['n_layers']} "
        f"blocks, d = {c['d_model']}, {c['dtype']}, read at {c['site']}",
        "corpus": f"{c['corpus']} ({c['corpus_hash']})",
        "tokens": f"{c['n_tokens']:,} run in {c['n_sequences']:,} sequences of at most {c['seq_len']} tokens from "
        f"{c['n_documents']:,} documents; {c['n_kept']:,} kept; dropped: {dropped}",
        "split by document": splits,
        "operators": f"{o['n_operators']:,} for {o['n_pairs']:,} layer pairs; figures show method {scope.method}, position policy "
        f"{scope.position_policy}",
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return f"<dl>{listed}</dl>{_saes(saes)}{_flags(scope, c, saes)}"


def _saes(saes: Rows) -> str:
    if not saes:
        return '<p class="absent">No SAE yet: run the flow saes.</p>'
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
            "yes" if s["trusted"] else f"no: {s['distrust_reason']}",
        )
        for s in saes
    ]
    return f"<h2>Sparse autoencoders</h2>{html_table(columns, lines)}"


def html_table(columns: Any, lines: Any) -> str:
    """A table that scrolls sideways where it is too wide."""
    top = "".join(f"<th>{escape(str(name))}</th>" for name in columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(str(v))}</td>" for v in line) + "</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'


def _flags(scope: Scope, c: dict[str, Any], saes: Rows) -> str:
    """What makes numbers of this collection less trustworthy, one line each."""
    (edge,) = scope.ask(
        "select count(*) filter (where alpha_at_edge) as at_edge, count(*) filter (where few_tokens) as few, count(*) as n "
        f"from operators where {scope.of_collection}"
    )
    (bracket,) = scope.ask(
        "select count(*) filter (where bracket_wide) as wide, count(*) as n from efficiency_curves "
        f"where {scope.of_collection} and is_latest"
    )
    (checks,) = scope.ask(
        f"select count(*) as n, count(*) filter (where not success) as failed from quality_results where {scope.of_collection}"
    )
    untrusted = sum(not sae["trusted"] for sae in saes)
    flags = [f"{checks['n']:,} quality checks, {checks['failed']:,} failed"]
    if c["fewer_tokens_than_dimensions"]:
        flags.append("fewer train tokens than dimensions: in-sample numbers mean little")
    if edge["few"]:
        flags.append(f"{edge['few']:,} of {edge['n']:,} operators have fewer than 10 train tokens a dimension")
    if edge["at_edge"]:
        flags.append(f"{edge['at_edge']:,} of {edge['n']:,} operators chose a strength at the edge of its grid")
    if bracket["wide"]:
        flags.append(f"{bracket['wide']:,} of {bracket['n']:,} ceilings are not known to within 0.05")
    if untrusted:
        flags.append(f"{untrusted} of {len(saes)} SAEs miss a quality limit")
    return "<h2>Quality</h2><ul>" + "".join(f"<li>{escape(flag)}</li>" for flag in flags) + "</ul>"
