"""What made the warehouse: stages, their lineage, time, disk and checks."""
