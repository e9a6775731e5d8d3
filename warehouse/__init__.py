"""The warehouse: tables, storage, SQL catalog, quality checks and operator registry."""

from warehouse.catalog.catalog import connect, publish
from warehouse.catalog.query import run_select
from warehouse.storage.warehouse import Warehouse

__all__ = ["Warehouse", "connect", "publish", "run_select"]
