"""Figures as SVG, PDF and PNG files that say what they show: the description is in each format's own metadata."""

import base64
import io
import logging
import re
from functools import lru_cache
from html import unescape
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from warehouse.exports.about import About

FONT = "DejaVu Sans"
"""Of all exported figures; it comes with matplotlib, so it is the same on every machine."""
_FACES = {"normal": "DejaVuSans.ttf", "bold": "DejaVuSans-Bold.ttf"}
_BOLD = re.compile(r"font-weight[=:]\s*\"?(?:bold|[6-9]00)")


def font_folder() -> Path:
    """Where the files of the font are."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def svg_file(svg: str, about: About) -> bytes:
    """An SVG file with ``<title>``, ``<desc>`` and ``<metadata>`` (RDF, Dublin Core), and the font of its characters.

    Args:
        svg: a document or an element; metadata that it has is replaced.
        about: what it shows.
    """
    told = about.fields()
    text = svg[svg.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    about_it = (
        f"<title>{escape(told['title'])}</title><desc>{escape(_caption(told))}</desc>"
        f"<metadata>{_rdf(told)}</metadata><style>{_faces(body)}</style>"
    )
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>{about_it}{body}'.encode()


def pdf_file(pdf: bytes, about: About) -> bytes:
    """A PDF file with the description in its information dictionary and, as XMP, in its metadata stream.

    Args:
        pdf: a PDF document.
        about: what it shows.
    """
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, NameObject

    # It warns of each document of vl-convert, whose trailer counts too few objects; what it writes counts them all.
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    told = about.fields()
    writer = PdfWriter(clone_from=io.BytesIO(pdf))
    writer.metadata = None
    writer.add_metadata(
        {
            "/Title": told["title"],
            "/Subject": _caption(told),
            "/Creator": told["creator"],
            "/CreationDate": f"D:{about.day:%Y%m%d}000000Z",
            "/N": told["n"],
            "/Statement": told["statement"],
            "/Collection": told["collection"],
        }
    )
    stream = DecodedStreamObject()
    begin, end = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>', '<?xpacket end="r"?>'
    stream.set_data(f'{begin}<x:xmpmeta xmlns:x="adobe:ns:meta/">{_rdf(told)}</x:xmpmeta>{end}'.encode())
    stream.update({NameObject("/Type"): NameObject("/Metadata"), NameObject("/Subtype"): NameObject("/XML")})
    writer.root_object[NameObject("/Metadata")] = writer._add_object(stream)
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def png_file(png: bytes, about: About) -> bytes:
    """A PNG file with the description in international text chunks; its pixels are the same.

    Args:
        png: a PNG file.
        about: what it shows.
    """
    from PIL import Image, PngImagePlugin

    chunks = PngImagePlugin.PngInfo()
    for name, text in about.fields().items():
        chunks.add_itxt(name.capitalize(), text)
    written = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        kept: dict[str, Any] = {"dpi": picture.info["dpi"]} if "dpi" in picture.info else {}
        picture.save(written, format="png", pnginfo=chunks, **kept)
    return written.getvalue()


def _caption(told: dict[str, str]) -> str:
    return f"{told['caption']} n: {told['n']}.".strip()


def _rdf(told: dict[str, str]) -> str:
    """The description in Dublin Core's terms, as XMP wants them: texts by language, lists of dates and creators."""
    safe = {name: escape(text) for name, text in told.items()}

    def by_language(text: str) -> str:
        return f'<rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt>'

    return (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/">'
        f"<dc:title>{by_language(safe['title'])}</dc:title>"
        f"<dc:description>{by_language(safe['caption'])}</dc:description>"
        f"<dc:creator><rdf:Seq><rdf:li>{safe['creator']}</rdf:li></rdf:Seq></dc:creator>"
        f"<dc:date><rdf:Seq><rdf:li>{safe['date']}</rdf:li></rdf:Seq></dc:date>"
        f"<dc:source>{safe['statement']}</dc:source>"
        f"<dcterms:extent>{safe['n']}</dcterms:extent>"
        f"<dcterms:isPartOf>{safe['collection']}</dcterms:isPartOf>"
        "</rdf:Description></rdf:RDF>"
    )


def _faces(body: str) -> str:
    """The font's characters that a picture has, as part of its style sheet."""
    used = "".join(sorted(set(unescape(re.sub(r"<[^>]*>", "", body)))))
    weights = ("normal", "bold") if _BOLD.search(body) else ("normal",)
    return "".join(
        f'@font-face{{font-family:"{FONT}";font-weight:{weight};src:url(data:font/woff;base64,{_subset(weight, used)})}}'
        for weight in weights
    )


@lru_cache(64)
def _subset(weight: str, characters: str) -> str:
    """A font's file with these characters only, compressed (WOFF) and in base64."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    options = subset.Options(layout_features=["kern"], flavor="woff", notdef_outline=True)
    options.drop_tables += ["FFTM"]
    with TTFont(font_folder() / _FACES[weight], recalcTimestamp=False) as font:
        chosen = subset.Subsetter(options)
        chosen.populate(text=characters)
        chosen.subset(font)
        font.flavor = "woff"
        written = io.BytesIO()
        font.save(written)
    return base64.b64encode(written.getvalue()).decode()
