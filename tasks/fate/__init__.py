"""Stage `fate`: what becomes of features between layers."""
