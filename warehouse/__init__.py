"""The warehouse: tables, storage, SQL catalog, quality checks and operator registry.

Public names are imported on first use, as those of ``ato`` are.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warehouse.catalog.catalog import connect
    from warehouse.catalog.published import publish
    from warehouse.catalog.query import run_select
    from warehouse.datasets.corpora import read_documents
    from warehouse.registry.database import registry_address
    from warehouse.storage.warehouse import Warehouse
else:
    from importlib import import_module

    _HOME = {
        "Warehouse": "storage.warehouse",
        "connect": "catalog.catalog",
        "publish": "catalog.published",
        "read_documents": "datasets.corpora",
        "registry_address": "registry.database",
        "run_select": "catalog.query",
    }

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module 'warehouse' has no attribute {name!r}")
        return getattr(import_module(f"warehouse.{_HOME[name]}"), name)

    def __dir__():
        return __all__


__all__ = ["Warehouse", "connect", "publish", "read_documents", "registry_address", "run_select"]
