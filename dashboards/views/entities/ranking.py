"""Panel of the page ``entities``: the ranked features with their scores."""

from dataclasses import replace

import polars as pl

from dashboards.ui.declared import TO_FEATURE, Column, Panel, interval
from dashboards.ui.declared_panel import draw_rows
from dashboards.views.entities.counts import EMPTY

RANKING = """select
    direction, rank, layer, feature_id, auroc, auroc_low, auroc_high, best_baseline, best_baseline_auroc, beats_baselines,
    separation, q, p_max, test_separation, test_separation_low, test_separation_high, general_rate, auroc_cross_type,
    auroc_cross_type_low, auroc_cross_type_high, n_positive, n_negative, top_tokens, sae
from entity_latent_ranking
where collection = $collection and contrast = $contrast and template = $template and position = $position
    and entity_type = $entity_type
order by direction, rank"""

BEST_FEATURES = Panel(
    "Best features",
    RANKING,
    note="Chosen by separation on train (share of the first class on which the feature is active, minus that of the "
    "second: negative for features that favour the second) among features that are rarely active on ordinary text "
    "(`text rate`). q: Benjamini-Hochberg over all features; p max: share of label permutations whose best feature "
    "separates as well. A feature with a q above 0.05 may be chance. Test scores with 95 % intervals by entity. "
    "`beats baselines`: the paired interval of the difference to the best baseline is above 0; a "
    "feature that does not has found nothing new. With several types, choose one for the AUROC on it of the feature "
    "chosen on the others. Tick a row to open the feature.",
    empty=EMPTY,
    columns=(
        Column("direction", "higher on"),
        Column("rank", "rank"),
        Column("layer", "layer"),
        Column("feature_id", "feature"),
        *interval("auroc", "AUROC"),
        Column("best_baseline", "best baseline"),
        Column("best_baseline_auroc", "its AUROC"),
        Column("beats_baselines", "beats baselines"),
        Column("separation", "separation, train"),
        Column("q", "q"),
        Column("p_max", "p max"),
        *interval("test_separation", "separation, test"),
        Column("general_rate", "text rate", "percent"),
        *interval("auroc_cross_type", "cross-type AUROC"),
        Column("n_positive", "first class, test", "integer"),
        Column("n_negative", "second class, test", "integer"),
        Column("top_tokens", "promotes", "list"),
        Column("sae", "SAE"),
    ),
    link=TO_FEATURE,
)


def draw_ranking(first: str, second: str, rows: pl.DataFrame) -> None:
    """The table with the names of the classes; without scores across types where there are none."""
    named = {"n_positive": f"{first}, test", "n_negative": f"{second}, test"}
    dropped = "auroc_cross_type" if rows["auroc_cross_type"].is_null().all() else "no column"
    kept = [column for column in BEST_FEATURES.columns if not column.name.startswith(dropped)]
    columns = tuple(replace(column, title=named.get(column.name, column.title)) for column in kept)
    draw_rows(replace(BEST_FEATURES, columns=columns), rows)
