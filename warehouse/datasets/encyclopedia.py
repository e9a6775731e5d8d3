"""The embedded encyclopedia: articles of one JSON file, each with its extract as text and its topic beside it."""

import json
from collections import abc
from pathlib import Path
from typing import BinaryIO

from ato.errors import CorpusError
from ato.io.embedded import FACT_FILES
from warehouse.datasets.corpus_records import FieldReader, Found

TOPIC = "topic"
"""Field of an article that says what it is about."""
_TEXT = "extract"


def is_encyclopedia(file: Path) -> bool:
    """Whether a file is that of the embedded encyclopedia, wherever its package is installed."""
    return file.match(FACT_FILES["articles"].name)


def read_articles(stream: BinaryIO, file: Path, reader: FieldReader) -> abc.Iterator[Found]:
    """The extracts of the articles (2 KB at most, 6.5 MB in all), whatever the reader's field is.

    Raises:
        CorpusError: the file is not what the package ships.
    """
    try:
        articles = json.load(stream)
        found = [Found(f"{file.name}, {title}", article[_TEXT], article) for title, article in articles.items()]
    except (ValueError, TypeError, AttributeError, LookupError):
        cure = "run `make install`, or name a corpus of your own"
        raise CorpusError("the file is not the encyclopedia that its package ships", where=file, cure=cure) from None
    yield from found
