"""What is there: collections, stages, runs, disk and checks."""
