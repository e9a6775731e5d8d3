"""Tables that a study of the pipeline has no rows of: studies on demand, and what other tests write.

Each has rows in tests of its own: tests/flows/test_entities.py, tests/flows/commands/test_steer.py,
tests/flows/test_sae_study.py, tests/warehouse/test_label_marts.py, tests/warehouse/lists, tests/tasks/jacobians/test_task.py and so on.
"""

from warehouse.tables import (
    TABLES,
    compare,
    embeddings,
    entities,
    entity_latents,
    fate,
    graph_attention,
    graphs,
    jacobians,
    label_evidence,
    labels,
    lists,
    sae_looks,
    sae_study,
    steering,
)

_ROOMS = (
    entities,
    entity_latents,
    steering,
    sae_study,
    sae_looks,
    label_evidence,
    labels,
    lists,
    embeddings,
    graphs,
    graph_attention,
    jacobians,
    fate,
    compare,
)
ON_DEMAND = (*(table for room in _ROOMS for table in room.TABLES), TABLES["document_strata"])
"""As declared."""
