"""Operators judged on held-out tokens: residuals, features, ranks and their ceilings."""
