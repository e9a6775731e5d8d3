"""Features of a concept are found, and text is generated while features are edited."""
