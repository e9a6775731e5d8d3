"""Quality expectations on what was written."""
