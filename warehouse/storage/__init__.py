"""Storage: local folder or object store, atomic writes, locks, manifests."""
