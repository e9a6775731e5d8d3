"""Tables: what people noted of features and operators. Its rows are changes, written by nobody but ``warehouse.lists``."""

from warehouse.tables.declarations import Column, Rule, Table, int32, string, timestamp

CREATE, RENAME, DELETE, ADD, REMOVE, NOTE, TAKE_BACK = (
    "create", "rename", "delete", "add", "remove", "note", "take back"
)  # fmt: skip
ACTIONS = (CREATE, RENAME, DELETE, ADD, REMOVE, NOTE, TAKE_BACK)
FEATURE, OPERATOR = "feature", "operator"
KINDS = (FEATURE, OPERATOR)
LIST_CHANGES = "list_changes"

# fmt: off
TABLES = (
    Table(
        LIST_CHANGES,
        "one change of a named list, one of its members, or one note: what people write, which no stage makes or removes",
        (
            Column("change", string, "key of the change: UTC time to the microsecond and eight random hex digits, so that changes sort by it"),
            Column("number", int32, "number of the row within its change, from 1", minimum=1),
            Column("changed_at", timestamp, "when it was made", volatile=True),
            Column("made_at", timestamp, "when it was first made, of what was imported from elsewhere; NULL if it was made here", nullable=True, volatile=True),
            Column("author", string, "user name of who made it on the command line; NULL from the dashboard", nullable=True, volatile=True),
            Column("action", string, ", ".join(ACTIONS[:-1]) + f" or {ACTIONS[-1]} (a note)"),
            Column("list", string, "key of the list, which a new name does not change; NULL of notes", nullable=True),
            Column("name", string, "name of the list from this change on; NULL of other actions than create and rename", nullable=True),
            Column("note", string, "key of the note; NULL of lists", nullable=True),
            Column("text", string, "what a note says, or what a new list is for", nullable=True),
            Column("kind", string, f"what is listed or noted: {FEATURE} or {OPERATOR}; NULL of a list itself", nullable=True),
            Column("weights_hash", string, "SHA-256 of the weights of the feature's SAE, first 16 hex digits: with feature_id the same feature in every warehouse", nullable=True),
            Column("feature_id", int32, "feature index in the SAE", nullable=True, minimum=0),
            Column("sae", string, "key that the SAE had where the feature was listed", nullable=True),
            Column("layer", int32, "layer of the feature's SAE", nullable=True, minimum=0),
            Column("collection", string, "key of the operator's collection; NULL of features", nullable=True),
            Column("operator", string, "key of the operator", nullable=True),
        ),
        ("change", "number"),
        (),
        rules=(
            Rule(
                "names what it changes",
                "action",
                """select change, number, action from list_changes
                where (action in ('create', 'rename', 'delete', 'add', 'remove')) <> (list is not null)
                    or (action in ('note', 'take back')) <> (note is not null)
                    or (action in ('create', 'rename')) <> (name is not null)
                    or (action in ('add', 'remove', 'note')) <> (kind is not null)""",
            ),
            Rule(
                "a feature has weights and a number, an operator its collection and key",
                "kind",
                """select change, number, kind from list_changes
                where (kind = 'feature') is true <> (weights_hash is not null and feature_id is not null)
                    or (kind = 'operator') is true <> (collection is not null and operator is not null)""",
            ),
            Rule(
                "a list was created before it was changed",
                "list",
                """select c.change, c.number, c.list from list_changes as c
                where c.list is not null and not exists (
                    from known_list_changes as k
                    where k.list = c.list and k.action = 'create' and (k.change, k.number) <= (c.change, c.number)
                )""",
            ),
        ),
    ),
)
"""Its files lie beside those of stages and belong to none: see ``warehouse.storage.change_log``."""
