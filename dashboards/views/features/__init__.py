"""Search for features, and one feature in full."""
