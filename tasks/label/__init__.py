"""What features fire on: windows of text, descriptions, and how far they can be trusted."""
