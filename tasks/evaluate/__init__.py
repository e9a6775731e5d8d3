"""Stage `evaluate`: feature transport, efficiency, scaling."""
