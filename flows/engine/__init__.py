"""What all flows share: inputs, the run of a stage, forms, fan-out, environment."""
