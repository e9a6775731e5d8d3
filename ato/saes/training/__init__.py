"""Training of sparse autoencoders on residuals."""
