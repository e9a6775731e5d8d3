"""Tests of the page ``compare``."""
