"""Figures and tables as files for papers: what they show, of how much, and the statement they come from go with them."""
