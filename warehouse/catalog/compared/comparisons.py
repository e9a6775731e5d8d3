"""The parts of a comparison by kind."""

from warehouse.catalog.compared import collections, entities, features, graphs, operators, saes
from warehouse.catalog.compared.sides import Side
from warehouse.catalog.compared.statements import Part

PARTS = {
    "feature": features.parts,
    "operator": operators.parts,
    "sae": saes.parts,
    "collection": collections.parts,
    "entity": entities.parts,
    "graph": graphs.parts,
}


def parts(left: Side, right: Side) -> tuple[Part, ...]:
    """What there is to show of two things of one kind, the table of differences first."""
    return PARTS[left.kind](left, right)
