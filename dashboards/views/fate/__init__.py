"""What becomes of features between layers."""
