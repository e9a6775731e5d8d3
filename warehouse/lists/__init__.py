"""Named lists of features and operators, and notes on them: the one thing in a warehouse that people write."""
