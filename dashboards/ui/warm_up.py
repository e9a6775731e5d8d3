"""Parts of Streamlit's program that a browser would load with its first chart and its first table, loaded before, while it is idle."""

from functools import cache
from pathlib import Path

import streamlit as st

PARTS = ("ArrowVegaLiteChart", "embed", "DataFrame", "Metric")
"""Files of the program by the first part of their names: charts and what draws them, tables, tiles."""
SCRIPT = """<script type="module">
const idle = window.requestIdleCallback ?? (work => setTimeout(work, 500));
for (const path of {paths}) idle(() => import(new URL(path, document.baseURI).href).catch(() => null));
</script>"""


def warm_up() -> None:
    """Have the browser load these parts once it has nothing else to do; files that Streamlit has not are left out."""
    if files := _files():
        st.html(SCRIPT.format(paths=list(files)), unsafe_allow_javascript=True, width=1)


@cache
def _files() -> tuple[str, ...]:
    """Paths below the address of the pages."""
    folder = Path(st.__file__).with_name("static")
    found = [path for name in PARTS for path in sorted(folder.glob(f"static/js/{name}.*.js"))]
    return tuple(path.relative_to(folder).as_posix() for path in found)
