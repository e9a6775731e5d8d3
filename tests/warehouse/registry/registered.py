"""Registering an operator of a tiny model."""

NAME = "ato-tiny-L02-k01"


def register(registry, path, key="ridge-1", *, model="tiny", metrics=None, **values):
    return registry.register_operator(
        path,
        key,
        model=model,
        source_layer=2,
        leap=1,
        params={"alpha": 10.0, "rank": None},
        metrics={"r2_val": 0.5} if metrics is None else metrics,
        **values,
    )


def runs_of(registry, key):
    return registry._client.search_runs([registry._experiment], f"tags.operator = '{key}'")
