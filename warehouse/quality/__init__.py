"""Quality checks of written data."""
