"""Where tables lie: local or object storage, atomic writing, locks, manifests."""
