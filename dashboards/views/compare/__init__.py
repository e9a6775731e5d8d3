"""Page ``compare``: other models and checkpoints beside this one."""
