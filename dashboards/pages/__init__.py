"""The pages, each a module or a package of its own."""
