"""What the warehouse holds, and how it was made."""
