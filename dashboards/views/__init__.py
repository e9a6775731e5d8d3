"""The pages, each a package of its own.

The folder is not called ``pages``: beside the app, Streamlit takes a folder of that name for its own way of finding pages.
"""
