"""Stage ``compare``: which features other models carry otherwise, on the same documents."""
