"""Corpora, stored sequences and stored activations."""
