"""The environment that every process of the platform runs in: no telemetry, everything below one data folder."""

import os
from contextlib import suppress
from pathlib import Path

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "WANDB_MODE": "disabled",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    # Large activations are freed and taken again for each batch; without this each time costs page faults.
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
}


def prepare_environment(*, debug: bool = False) -> None:
    """Set the defaults above for all that the user has not set; call before Prefect is imported.

    Prefect's own files lie beside the warehouse unless PREFECT_HOME or PREFECT_API_URL names another place.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if debug:
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "DEBUG"
    if not {"PREFECT_HOME", "PREFECT_API_URL"} & set(os.environ):
        os.environ["PREFECT_HOME"] = str(data_folder() / "prefect")
        with suppress(
            OSError
        ):  # Prefect makes the last folder only; where nothing can be written, `ato doctor` says so
            data_folder().mkdir(parents=True, exist_ok=True)


def data_folder() -> Path:
    """The folder beside a local warehouse; ``./data`` when the warehouse is on an object store."""
    root = os.environ.get("ATO_WAREHOUSE", "data/warehouse")
    return Path("data").resolve() if "://" in root else Path(root).resolve().parent
