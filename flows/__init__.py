"""Prefect flows, settings, profiles and the ``ato`` command."""
