"""A warehouse as large as many finished studies, whose rows are made up."""
