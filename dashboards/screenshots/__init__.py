"""Screenshots of the pages."""
