"""The warehouse: tables, storage, SQL catalog, quality checks and operator registry."""

from warehouse.catalog.catalog import connect
from warehouse.catalog.published import publish
from warehouse.catalog.query import run_select
from warehouse.datasets.corpora import read_documents
from warehouse.registry.database import registry_address
from warehouse.storage.warehouse import Warehouse

__all__ = ["Warehouse", "connect", "publish", "read_documents", "registry_address", "run_select"]
