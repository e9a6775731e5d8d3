"""Neuronpedia's explanations: client, bulk export and alignment with our SAEs."""
