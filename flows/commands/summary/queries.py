"""Queries to try at the end of the summary."""

import textwrap
from collections.abc import Iterator

from warehouse.catalog.catalog import rows

EXAMPLES = (
    "select source_layer, target_layer, mean_r2, share_transported, share_computed from transport_map "
    "where method = 'ridge' order by mean_r2 desc limit 5",
    "select target_layer, leap, verdict, count(*) as features from feature_transport where method = 'ridge' group by all order by all",
    "select rank, avg(efficiency) as efficiency, avg(efficiency_paper) as as_published from efficiency_curves "
    "where leap = 2 group by rank order by rank",
)
"""Three queries to try; README has them too."""

ENTITY_EXAMPLES = (
    "select entity_type, label, count(*) as entities, avg(n_tokens) as tokens from entity_knowledge group by all order by all",
    "select direction, layer, feature_id, auroc, auroc_low, auroc_high, q, best_baseline, best_baseline_auroc, beats_baselines "
    "from entity_latent_ranking where contrast = 'known_unknown' and entity_type = 'all' order by direction, rank limit 10",
    "select direction, source_layer, target_layer, carried, r2, r2_identity, verdict_text from entity_latent_transport "
    "where contrast = 'known_unknown' and rank = 1 order by direction, method, source_layer",
)
"""The same about entities, for those who have asked about some."""

STUDY_EXAMPLES = (
    "select label, l0, fvu, ce_recovered, dead_share, matched_cosine from sae_comparison order by k, is_baseline, fvu",
    "select architecture, k, n_seeds, mean, sd, next_architecture, difference, exceeds_spread, at_equal_l0, best_baseline, baseline_mean "
    "from sae_frontier where metric = 'fvu' and not is_baseline order by k, place",
)
"""The same about a study of SAEs."""


def queries_for(collection: str) -> Iterator[str]:
    """Queries to try: those of every study, and those of the studies on demand that were run."""
    yield from EXAMPLES
    for table, queries in (("entities", ENTITY_EXAMPLES), ("sae_studies", STUDY_EXAMPLES)):
        if rows(None, f"select collection from {table} where collection = ? limit 1", [collection]):
            yield from queries


def folded_command(command: str, width: int) -> list[str]:
    """A command on lines of a width: a line break within the quotes of a query is a blank to SQL."""
    return textwrap.wrap(
        command,
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
