"""Settings are judged before any work: what would fail late, or do nothing in silence, a module a stage."""
