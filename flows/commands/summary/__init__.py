"""The parts of the summary that ``ato show`` prints, by subject."""
