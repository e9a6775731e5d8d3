"""What features mean: scores of their descriptions, which fail, and what judges cost."""
