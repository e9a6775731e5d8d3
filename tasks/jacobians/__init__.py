"""Stage `jacobians`: mean derivatives between layers, measured in the running model."""
