"""Interventions on the running model."""
