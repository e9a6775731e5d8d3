"""What the verbs of the `ato` command do, a module a verb."""
