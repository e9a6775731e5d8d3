"""The pages, each a package of its own.

None is a module of this folder: Streamlit would take such a module for a page that it finds by itself.
"""
