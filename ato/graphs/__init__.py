"""Graphs of one prompt: which features cause which, by gradients or by transport operators; pruning, files, motifs."""
