"""Operators as versions of registered models in MLflow's database."""
