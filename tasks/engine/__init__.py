"""What every stage stands on: keys, progress, parts that run side by side, calls of the server."""
