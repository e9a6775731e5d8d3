"""SQL over the warehouse."""
