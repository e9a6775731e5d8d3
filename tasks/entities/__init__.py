"""Which entities the model knows, which features say so, and what they cause."""
