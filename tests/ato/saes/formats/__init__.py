"""File formats of SAEs."""
