"""Settings of the fan-out over Dask."""

from pydantic import Field

from tasks.settings.base import StageSettings


class FanOutSettings(StageSettings):
    """Where the parts of a stage run; affects no result and no key."""

    scheduler: str = Field(
        "",
        description="Dask scheduler, such as tcp://host:8786; local: start workers here; empty: this process",
    )
    workers: int = Field(
        2, ge=1, description="Number of worker processes that `fan_out.scheduler=local` starts; they share the cores"
    )
