"""One read-only statement, its rows and a chart."""
