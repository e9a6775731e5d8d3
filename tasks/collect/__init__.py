"""Stage `collect`: text to sequences, activations and moments."""
