"""What the page shows of a feature: a JSON file each, in a folder named after what is in it, so that no browser shows old ones."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ato.errors import InputError
from ato.features.exports.cantor import cantor_id
from ato.features.exports.expanded import FEATURES, feature_json
from ato.features.exports.feature_page import FeaturePage
from ato.features.exports.strict_json import json_bytes


def write_panels(folder: Path | str, pages: Iterable[FeaturePage]) -> str:
    """Write ``features/<hash>/<cantor id>.json`` below the folder of the graphs.

    Args:
        folder: where the graphs are; panels of the same content are written once.
        pages: of every feature that a graph has: without a file the viewer shows the one before it.

    Returns:
        ``scan`` of the graphs: ``./data/features/<hash>``.

    Raises:
        InputError: one feature given twice, or as ``feature_json``.
    """
    files: dict[int, bytes] = {}
    for page in pages:
        number = cantor_id(page.layer, page.feature_id)
        if number in files:
            raise InputError(f"feature {page.feature_id} of layer {page.layer} has two panels", cure="give it one")
        files[number] = json_bytes(feature_json(page))
    digest = hashlib.sha256()
    for number in sorted(files):
        digest.update(f"{number} {len(files[number])} ".encode() + files[number])
    name = digest.hexdigest()[:16]
    target = Path(folder) / FEATURES / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".staging-") as staging:
            whole = Path(staging) / name
            whole.mkdir()
            for number, content in files.items():
                (whole / f"{number}.json").write_bytes(content)
            os.replace(whole, target)
    return f"./data/{FEATURES}/{name}"
