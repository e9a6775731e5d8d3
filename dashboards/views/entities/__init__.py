"""What the model knows about entities, and which features say so."""
