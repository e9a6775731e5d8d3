"""Numerical tools that know nothing of language models: devices, threads, products, intervals."""
