"""What all pages are made of: addresses, panels, charts, reading."""
