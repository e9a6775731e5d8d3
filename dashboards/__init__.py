"""Pages over the warehouse, read-only."""
