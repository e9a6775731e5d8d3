"""Screenshots of four pages for README and docs: ``python -m dashboards.screenshots.pictures FOLDER``."""

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import warehouse
from ato.errors import AtoError, InputError
from dashboards.screenshots.browser import browser, served, settled

WIDTH, HEIGHT = 1280, 3200
"""Size of the window in pixels; every panel of a page fits."""
MARGIN = 8
"""Margin around a part of a page, in pixels."""
COLOURS = 256
"""Colours of a picture; keeps it below 150 kB."""
FINDINGS = ("How far features travel", "Features: operator against identity", "What replacing residuals costs")
"""The first card of each row that the picture of the findings shows."""


def make_pictures(folder: Path) -> list[Path]:
    """Write ``dashboard-findings.png``, ``-transport.png``, ``-feature.png`` and, of a warehouse with graphs, ``-graph.png``.

    The feature is the best selected one with examples that is transported far and then stops, the graph the one of which
    least is an error; its most influential feature is pinned.

    Returns:
        Where they are.

    Raises:
        InputError: Chromium is missing, or the warehouse has no such feature.
    """
    found = warehouse.run_select(warehouse.connect(), FEATURE).fetchall()
    if not found:
        raise InputError("no feature to show", where="the warehouse", cure="run `make run` first")
    collection, sae, feature_id = found[0]
    graphs = warehouse.run_select(warehouse.connect(), GRAPH).pl().to_dicts()
    about = urlencode({"collection": collection, "sae": sae, "feature_id": feature_id})
    shown: dict[str, tuple[str, dict[str, int | None]]] = {
        "findings": (f"?{urlencode({'collection': collection})}", dict.fromkeys(FINDINGS)),
        "transport": (f"transport?{urlencode({'collection': collection})}", {"Source × target": None, "By leap": None}),
        "feature": (
            f"features?{about}",
            {
                f"Feature {feature_id} of {sae}": None,
                "Activating examples": 412,
                "Where does it stop being transported?": 592,
            },
        ),
    }
    if graphs:
        shown["graph"] = (f"graphs?{urlencode(graphs[0])}", {"Graph": 560})
    with tempfile.TemporaryDirectory() as logs, browser() as chromium, served(Path(logs, "dashboard.log")) as address:
        page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        return [
            _picture(page, f"{address}/{path}", parts, folder / f"dashboard-{name}.png")
            for name, (path, parts) in shown.items()
        ]


def _picture(page: Any, url: str, parts: dict[str, int | None], path: Path) -> Path:
    """Screenshot of the rows of panels that start with these titles, stacked; None: full height, else cut (pixels)."""
    from PIL import Image

    page.goto(url)
    settled(page)
    page.wait_for_timeout(1000)  # chart animations
    main = page.get_by_test_id("stMainBlockContainer").bounding_box()
    cuts = []
    for title, height in parts.items():
        panel = page.locator("[data-testid=stVerticalBlock]").filter(
            has=page.get_by_role("heading", name=title, exact=True)
        )
        box = panel.last.bounding_box()
        tall = 2 * MARGIN + box["height"] if height is None else height
        clip = {"x": main["x"] + MARGIN, "y": box["y"] - MARGIN, "width": main["width"] - 2 * MARGIN, "height": tall}
        cuts.append(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"))
    whole = Image.new("RGB", (cuts[0].width, sum(cut.height for cut in cuts)), "white")
    for i, cut in enumerate(cuts):
        whole.paste(cut, (0, sum(above.height for above in cuts[:i])))
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def main() -> None:
    """Write the pictures and print their paths."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.screenshots.pictures", description=__doc__)
    parser.add_argument("folder", type=Path, help="output folder")
    try:
        for path in make_pictures(parser.parse_args().folder):
            print(f"{path}  {path.stat().st_size / 1e3:.0f} kB")
    except AtoError as error:
        sys.exit(f"error: {error}")


FEATURE = """with shown as (select distinct collection, sae, feature_id from feature_examples),

whole as (select distinct collection from causal_summary)

select p.collection, p.sae, p.feature_id
from feature_profile as p
inner join feature_catalog as f using (collection, sae, feature_id)
semi join shown using (collection, sae, feature_id)
semi join whole using (collection)
where p.method = 'ridge' and p.position_policy = 'same' and p.stops_at_leap is not null and p.transported_leap is not null
    and f.selected and p.sae_trusted
order by p.transported_leap desc, f.score desc, p.sae, p.feature_id
limit 1"""
GRAPH = """select g.collection, g.prompt, g.graph_kind, n.node_id as pinned, n.node_id as clicked
from graph_summary as g
inner join graph_nodes as n using (collection, graph_set, prompt, graph_kind)
where g.graph_kind = 'attribution' and n.kind = 'feature'
order by g.replacement desc nulls last, g.prompt, n.influence, n.node
limit 1"""

if __name__ == "__main__":
    main()
