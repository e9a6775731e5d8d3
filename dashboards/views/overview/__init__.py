"""What the study found, and what is new in it."""
