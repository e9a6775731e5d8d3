"""The verbs of the ``ato`` command, one module each."""
