"""Pictures of the pages, taken in a browser."""
