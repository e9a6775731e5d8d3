"""Two Dask workers that the tests of a session share: a worker needs seconds to import what stages import."""

import os
from pathlib import Path

from distributed import Client, LocalCluster

from flows.settings import Settings
from tasks.settings import FanOutSettings

N_WORKERS = 2
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Workers:
    """A scheduler in this process with two worker processes of one thread each; one that dies is started again."""

    def __init__(self) -> None:
        self.cluster = LocalCluster(
            n_workers=N_WORKERS,
            threads_per_worker=1,
            memory_limit=0,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            env=_ONE_THREAD,
        )
        self.address: str = self.cluster.scheduler_address

    def close(self) -> None:
        """End the processes."""
        self.cluster.close()

    def client(self) -> Client:
        """A client for the tests' own questions, once both workers are there."""
        client = Client(self.address, set_as_default=False)
        client.wait_for_workers(N_WORKERS, timeout=60)
        return client

    def use(self, warehouse: Path | str) -> None:
        """Make the workers read and write this warehouse, with no model loaded, as new ones would."""

        def prepare(root: str) -> None:
            from tasks.engine.model_cache import language_model

            os.environ["ATO_WAREHOUSE"] = root
            language_model.cache_clear()

        with self.client() as client:
            client.run(prepare, str(warehouse))

    def do(self, settings: Settings) -> Settings:
        """The same settings, the work shared out among these workers."""
        return settings.model_copy(update={"fan_out": FanOutSettings(scheduler=self.address)})
