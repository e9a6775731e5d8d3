"""Stage `saes`: autoencoders trained or loaded, and judged."""
