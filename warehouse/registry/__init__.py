"""The operator registry, in MLflow."""
