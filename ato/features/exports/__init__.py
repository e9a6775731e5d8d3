"""Features in the formats of other tools: expanded and packed JSON for circuit-tracer, batches for Neuronpedia."""
