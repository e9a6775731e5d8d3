"""The user's folder of what can be made or fetched again."""

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """A folder of the platform in the user's cache, which need not exist.

    Raises:
        RuntimeError: the user has no home, and ``XDG_CACHE_HOME`` names no other place.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ato", name)
