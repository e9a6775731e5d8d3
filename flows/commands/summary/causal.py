"""What it costs to put transported residuals back into the running model."""

from collections.abc import Iterator
from typing import Any

from ato.causal.intervention_names import SHOWN, edited_in_words, in_shown_order
from flows.commands.summary.layout import estimate_cell, plain_table, titled
from warehouse.catalog.catalog import rows


def causal_tables(collection: str) -> Iterator[Any]:
    """A row a pair and method, at the set of edited positions that the report and the dashboard show at first."""
    found = rows(None, "from causal_summary where collection = ? and feature_id is null", [collection])
    if not found:
        return
    edited = in_shown_order(row["position_set"] for row in found)[0]
    found = [row for row in found if row["position_set"] == edited]
    several = len({row["method"] for row in found}) > 1
    heads = (name.replace("_rotation", "\nrot.") for name in SHOWN)  # no wider than numbers below 0
    costs = plain_table("pair", "loss", *heads)
    rivals = plain_table(
        "pair", "transport – identity", "p", *(f"– {name.replace('_', chr(10))}" for name in SHOWN[2:])
    )
    for target, source, method in sorted({(r["target_layer"], r["source_layer"], r["method"]) for r in found}):
        line = {
            r["intervention"]: r
            for r in found
            if (r["target_layer"], r["source_layer"], r["method"]) == (target, source, method)
        }
        first = next(iter(line.values()))
        effects = [
            "–" if name not in line else estimate_cell(line[name], "delta_log_ppl", with_interval=name == "transport")
            for name in SHOWN
        ]
        pair = f"{source} → {target}" + (f"\n{method}" if several else "")
        costs.add_row(pair, estimate_cell(first, "log_ppl_none", 2, with_interval=False), *effects)
        rivals.add_row(pair, *_against_rivals(line))
    n = sorted({row["n_sequences"] for row in found})
    yield from titled(
        f"Causal check: rise of the next-token loss (nats) when residuals {edited_in_words(edited)} are "
        f"replaced in each of {' or '.join(map(str, n))} sequences",
        costs,
    )
    if any(row["difference"] is not None for row in found):
        yield from titled(
            "The same, transport minus its rivals on the same sequences; below 0: transport costs less; "
            "*: the 95 % interval excludes 0",
            rivals,
        )


def _against_rivals(line: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Cells of one pair: transport minus the identity with its interval and p, then minus the others."""
    nothing = {"difference": None, "difference_p": None}
    identity = line.get("identity", nothing)
    yield estimate_cell(identity, "difference")
    yield "–" if identity["difference_p"] is None else f"{identity['difference_p']:.4f}"
    for name in SHOWN[2:]:
        row = line.get(name, nothing)
        yield estimate_cell(row, "difference", with_interval=False) + (
            "*" if row.get("difference_excludes_zero") else ""
        )
