"""Graphs of prompts: which features make which others, what of it is plain transport, and a viewer to explore them."""
