"""The end of a run: best versions in the registry, the published catalog, and artifacts with the main results."""

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from warehouse.catalog import publish, rows
from warehouse.store import Warehouse


def _point_at_best(warehouse: Warehouse, collection: str) -> None:
    """Move the alias ``best`` of every registered model of the collection to its best version."""
    addresses = rows(
        warehouse,
        "select distinct split_part(registry_uri, '/', 2) as name from operators "
        "where collection = ? and registry_uri is not null order by name",
        [collection],
    )
    if addresses:
        from warehouse.registry import Registry

        registry = Registry(warehouse.root)
        for address in addresses:
            registry.update_best(address["name"])


@task(name="publish", cache_policy=NO_CACHE)
def publish_results(collection: str) -> None:
    """Move the alias ``best``, replace ``warehouse.duckdb`` and show the transport map as a table artifact in Prefect."""
    warehouse = Warehouse()
    _point_at_best(warehouse, collection)
    address = publish(warehouse)
    table = rows(
        warehouse,
        "select source_layer, target_layer, leap, method, mean_r2, mean_skill, n_features_scored, sae_trusted "
        "from transport_map where collection = ? and is_latest order by all",
        [collection],
    )
    if table:
        create_table_artifact(table=table, key="transport-map", description=f"Transport map of {collection}")
    create_markdown_artifact(
        f"Collection `{collection}` is complete. Catalog: `{address}`.\n\n```\nato show --collection {collection}\n```",
        key="collection",
        description="Where the results are",
    )
