"""Tables, partitions, catalog, SQL, quality and registry of the platform."""

from warehouse.catalog import connect, publish
from warehouse.query import run_select
from warehouse.store import Warehouse

__all__ = ["Warehouse", "connect", "publish", "run_select"]
