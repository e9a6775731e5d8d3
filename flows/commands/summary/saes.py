"""The sparse autoencoders of a study and their best features."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from flows.commands.summary.layout import estimate_cell, plain_table, titled
from warehouse.catalog.catalog import rows


def sae_tables(collection: str) -> Iterator[Any]:
    """A row an SAE, and why one is not trusted."""
    found = rows(None, "from saes where collection = ? order by layer, sae", [collection])
    if not found:
        return
    table = plain_table("layer", "features", "L0", "FVU", "loss recovered", "dead", "trusted")
    for s in found:
        table.add_row(
            str(s["layer"]),
            f"{s['d_sae']:,}",
            f"{s['l0']:.0f}",
            estimate_cell(s, "fvu"),
            estimate_cell(s, "ce_recovered"),
            f"{s['dead_share']:.0%}",
            "yes" if s["trusted"] else "[red]no[/]",
        )
    yield from titled(
        f"Sparse autoencoders on held-out text ({', '.join(sorted({s['architecture'] for s in found}))})", table
    )
    for s in found:
        if not s["trusted"]:
            yield Text(f"layer {s['layer']} is not trusted: {s['distrust_reason']}")
        if s["warning"]:
            yield Text(f"layer {s['layer']}: {s['warning']}")


def best_features(collection: str) -> Table:
    """A row an SAE: how many features are selected, and the first three."""
    table = plain_table("layer", "selected", "best three")
    found = rows(
        None,
        """
        select layer, sae, count(*) as n, count(*) filter (selected) as n_selected,
            list(feature_id || ' ' || array_to_string(list_transform(top_tokens[:4], lambda t: '«' || t || '»'), ' ')
                order by rank) filter (rank <= 3) as best
        from latest_feature_scores
        where collection = ?
        group by all order by layer, sae
        """,
        [collection],
    )
    for f in found:
        best = "\n".join("".join(c if c.isprintable() else "·" for c in feature) for feature in f["best"] or [])
        table.add_row(str(f["layer"]), f"{f['n_selected']:,} of {f['n']:,}", Text(best))
    return table
