"""What `make docs` adds to the pages of this folder: README, CONTRIBUTING and CHANGELOG, the notebooks, the API.

Nothing is copied by hand: pages of the API follow from ``__all__``, notebooks are shown with the outputs they keep.
"""

import base64
import posixpath
import re
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import ato
import warehouse

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "CHANGELOG.md": "CHANGELOG.md"}
"""Files of the root, and the pages they become."""
LINK = re.compile(r"\]\(([^):#]+)(#[^)]*)?\)")
PICTURE = re.compile(r'<img src="([^":]+)"')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    for package in (ato, warehouse):
        files.append(File.generated(config, f"api/{package.__name__}.md", content=_api_page(package)))
    for notebook in sorted((ROOT / "examples").glob("*.ipynb")):
        for name, content in _notebook_files(notebook).items():
            files.append(File.generated(config, f"examples/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links lead to the pages of the site, wherever the files stand in the repository."""
    in_docs = page.file.src_uri not in PAGES.values()
    markdown = LINK.sub(lambda link: f"]({_on_site(link[1], in_docs)}{link[2] or ''})", markdown)
    return PICTURE.sub(lambda picture: f'<img src="{_on_site(picture[1], in_docs)}"', markdown)


def _on_site(path: str, in_docs: bool) -> str:
    """Page of the site for a link of a file of docs/, or of the root."""
    path = posixpath.normpath(posixpath.join("docs" if in_docs else "", path))
    path = PAGES.get(path, path).replace(".ipynb", ".md")
    return posixpath.relpath(path, "docs") if path.startswith("docs/") else path


def _api_page(package: ModuleType) -> str:
    """A package's public names under the subjects (its own packages) that they belong to."""
    subjects = defaultdict(list)
    for name in package.__all__:
        home = getattr(package, name).__module__.removeprefix(f"{package.__name__}.")
        subjects[home.split(".")[0]].append(name)
    parts = [f"# `{package.__name__}`\n\n{package.__doc__}"]
    for subject, names in sorted(subjects.items()):
        parts.append(f"## {subject.capitalize()}\n")
        parts += [f"::: {package.__name__}.{name}\n" for name in sorted(names, key=str.lower)]
    return "\n".join(parts)


def _notebook_files(path: Path) -> dict[str, str | bytes]:
    """A notebook as a Markdown page, with its pictures beside it."""
    page: list[str] = []
    pictures: dict[str, str | bytes] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            page.append(cell.source)
            continue
        page.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                page.append(f"![Figure {len(pictures)}]({name})")
            else:
                page.append(f"```text\n{output.get('text') or data['text/plain']}\n```")
    return {f"{path.stem}.md": "\n\n".join(page), **pictures}
