"""What may be removed."""
