"""Interventions on the running model, and what they cost it."""
