"""Removal of old data."""
