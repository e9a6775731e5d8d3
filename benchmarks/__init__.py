"""Programs that measure, in one run, this platform against a named peer or a physical limit: ``python -m benchmarks``."""
