"""What every flow stands on: its run, its form, its fan-out, its environment."""
