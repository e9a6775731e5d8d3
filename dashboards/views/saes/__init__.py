"""Sparse autoencoders of a collection: quality and training."""
