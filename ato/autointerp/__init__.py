"""What features mean: examples put as questions to a judge, its answers, and what the answers are worth."""
