"""Graphs of prompts: which features make which others, by the model's gradients and by transport operators."""
