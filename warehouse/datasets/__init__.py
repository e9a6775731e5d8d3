"""Corpora, sequences and activations as stored."""
