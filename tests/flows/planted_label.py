"""A labelling by a language model in small, on the planted study of ``tests.tasks.label``."""

import re
from pathlib import Path
from typing import Any

from flows.settings import Settings
from tests.judge_server import Body, filled, schema_of
from tests.tasks.label.planted_study import LAYER, LETTER, PLACES, WORD, planted_settings

CHAT = {"concurrency": 1, "max_attempts": 2, "timeout": 20.0, "model": "writer", "key_variable": "ATO_TEST_NO_KEY"}
FEATURES = [WORD, PLACES, LETTER]


def chat_settings(folder: Path, url: str, **changes: Any) -> Settings:
    """Settings of a labelling by the server at an address."""
    own = {"judge": "chat", "chat": CHAT | {"base_url": url}, "features": {LAYER: FEATURES}, "n_trials": 5}
    return planted_settings(folder, **own | changes)


def by_words(body: Body) -> Any:
    """What a server answers that knows one thing: a text is active where it holds the letter q."""
    schema = schema_of(body)
    if "answers" not in schema.get("properties", {}):
        return filled(schema)
    texts = re.split(r"Text \d+:\n", body["messages"][-1]["content"])[1:]
    return {"answers": ["q" in text for text in texts]}


def run_label(settings: Settings) -> None:
    """The labelling as a plain function, on the collection and SAE that are there."""
    from tasks.label.task import label_features
    from warehouse.catalog.catalog import rows

    (found,) = rows(None, "select collection, sae from saes")
    label_features.fn(settings.study(found["collection"]), [found["sae"]], settings.label)
