"""Names that settings offer and the study of entities understands: prompt families, positions that are read or edited."""

FAMILIES = ("continuation", "chat_prefill", "chat_free")
"""How a question is put: plain text to go on with, the chat template with the beginning of an answer, or without one."""

POSITIONS = ("entity_first", "entity_last", "question_end", "last_eoi")
"""Tokens whose residuals are read: the entity's first and last, the prompt's last, and in chats the last one in front of the
answer (end of instruction)."""

POSITION_MODES = (
    "all",
    "entity",
    "entity_first",
    "entity_last",
    "entity_to_end",
    "entity_last_to_end",
    "question_end",
)
"""Which positions an intervention changes:

- ``all``: every position but the first, of the prompt and of what is generated; the first one carries massive
  activations (Sun et al., 2024, arXiv 2402.17762), and a strength in units of its norm would be enormous;
- ``entity``, ``entity_first``, ``entity_last``: the tokens of the entity, its first, its last;
- ``entity_to_end``, ``entity_last_to_end``: from the entity's first or last token to the end of the prompt;
- ``question_end``: the last token of the prompt.

All but ``all`` are positions of the prompt: generated tokens attend to what was changed, and are not changed.
"""
