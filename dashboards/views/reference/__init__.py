"""What words mean, and what settings do."""
