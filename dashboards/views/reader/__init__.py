"""The reader: the documents of a collection, and what is known of their tokens."""
