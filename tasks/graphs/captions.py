"""What is known of the features of a graph: their pages, as exports have them, and what they are called."""

from collections.abc import Collection, Iterator, Mapping

from ato.features.exports.feature_page import FeaturePage
from tasks.graphs.stages import GraphStudy
from warehouse.catalog.feature_pages import FeaturePages

PROMOTED = 4
"""Promoted tokens of a label."""


def pages_of(of: GraphStudy, features: Collection[tuple[int, int]]) -> Iterator[FeaturePage]:
    """One page of each feature (layer, number), empty where nothing is known."""
    for one in of.dictionaries:
        ids = sorted({feature for layer, feature in features if layer == one.layer})
        pages = FeaturePages(of.study.warehouse, of.study.collection, one.key, one.layer, one.d_sae)
        yield from pages.read(ids)


def labels_of(pages: Collection[FeaturePage]) -> Mapping[tuple[int, int], str]:
    """(layer, number) -> the best description, else what the feature promotes; without those it has none."""
    found = {}
    for page in pages:
        if page.descriptions:
            found[page.layer, page.feature_id] = page.descriptions[0].text
        elif page.top_tokens:
            found[page.layer, page.feature_id] = "promotes " + " ".join(map(repr, page.top_tokens[:PROMOTED]))
    return found
