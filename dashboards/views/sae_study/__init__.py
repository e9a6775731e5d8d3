"""Many SAEs compared: what they cost and keep, when their features emerge, and what these are."""
