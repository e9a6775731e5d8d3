"""Settings of the fan-out over Dask."""

from pydantic import Field

from tasks.settings.base import StageSettings


class FanOutSettings(StageSettings):
    """Where the parts of a stage's work run; no result depends on it, and no key."""

    scheduler: str = Field(
        "", description="A Dask scheduler such as tcp://host:8786; local starts workers here; empty: this process"
    )
    workers: int = Field(2, ge=1, description="Worker processes that scheduler=local starts; they share the cores")
