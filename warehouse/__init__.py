"""Tables, partitions, catalog, SQL, quality and registry of the platform."""
