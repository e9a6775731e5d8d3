"""The button ``Share``: the collection as a static site in one file, made when it is asked for."""

import io
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import streamlit as st

HELP = (
    "Download this study as a static site, text of the corpus included: unpack it and copy it to any web server, or run "
    "`python -m http.server` in it. `ato publish FOLDER --without-text` leaves the text out."
)


def share(collection: str) -> None:
    """Draw the button of a collection, named by its key."""
    st.download_button(
        "Share",
        partial(site_as_zip, collection),
        f"{collection}.zip",
        "application/zip",
        icon=":material/share:",
        type="tertiary",
        on_click="ignore",
        help=HELP,
    )


def site_as_zip(collection: str) -> bytes:
    """The site of one collection, in a folder named after it, as a ZIP file; equal tables give equal bytes."""
    from dashboards.site.writer import write_site

    with tempfile.TemporaryDirectory() as temporary:
        site = write_site(Path(temporary, collection), [collection])
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            for path in sorted(path for path in site.folder.rglob("*") if path.is_file()):
                name = zipfile.ZipInfo(str(path.relative_to(temporary)))
                name.external_attr = 0o644 << 16
                file.writestr(name, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()
