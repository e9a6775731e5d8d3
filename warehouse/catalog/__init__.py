"""What is in the warehouse, as SQL sees it."""
