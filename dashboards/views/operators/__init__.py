"""One pair of layers and its operators."""
