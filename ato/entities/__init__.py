"""Entities that a model may know: who they are, what is asked about them, and where in the model the knowledge shows."""
