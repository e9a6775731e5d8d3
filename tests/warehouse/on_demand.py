"""Tables that a study of the pipeline has no rows of: studies on demand, and what other tests write.

Each has rows in tests of its own: tests/flows/test_entities.py, tests/flows/commands/test_steer.py,
tests/flows/test_sae_study.py, tests/warehouse/test_label_marts.py, tests/warehouse/lists, tests/tasks/jacobians/test_task.py and so on.
"""

from warehouse.tables import (
    TABLES,
    compare,
    embeddings,
    entities,
    fate,
    graphs,
    jacobians,
    label_evidence,
    labels,
    lists,
    sae_study,
    steering,
)

_ROOMS = (entities, steering, sae_study, label_evidence, labels, lists, embeddings, graphs, jacobians, fate, compare)
ON_DEMAND = (*(table for room in _ROOMS for table in room.TABLES), TABLES["document_strata"])
"""As declared."""
