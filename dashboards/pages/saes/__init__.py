"""Quality of the sparse autoencoders, and how they were trained."""
