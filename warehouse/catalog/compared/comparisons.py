"""The parts of a comparison by kind."""

from warehouse.catalog.compared import collections, entities, features, graphs, operators, saes
from warehouse.catalog.compared.statements import Part

PARTS: dict[str, tuple[Part, ...]] = {
    "feature": features.PARTS,
    "operator": operators.PARTS,
    "sae": saes.PARTS,
    "collection": collections.PARTS,
    "entity": entities.PARTS,
    "graph": graphs.PARTS,
}
"""Kind -> what there is to show of two of it, the table of differences first."""
