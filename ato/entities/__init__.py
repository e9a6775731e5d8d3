"""What a model knows about entities: questions, labels, latents that tell known from unknown, interventions."""
