"""Stage `causal`: transported residuals put back into the running model."""
