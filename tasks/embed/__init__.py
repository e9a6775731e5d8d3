"""Embeddings of texts that say what features are about."""
