"""Statistics, quality, ranking and examples of SAE features."""
