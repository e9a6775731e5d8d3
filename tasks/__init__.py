"""Prefect tasks: read rows or paths, call ``ato``, write rows. One module a stage."""
