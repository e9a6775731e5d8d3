"""What the latest labelling of an SAE says of its features, in the words of a feature's page."""
