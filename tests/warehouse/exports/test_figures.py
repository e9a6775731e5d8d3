"""SVG, PDF and PNG files: independent readers find what they show, and they look as they did."""

import base64
import io
import re
from datetime import date
from xml.etree import ElementTree

import pypdfium2
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from warehouse.exports.about import About
from warehouse.exports.figures import pdf_file, png_file, svg_file

SVG = {
    "svg": "http://www.w3.org/2000/svg",
    "dc": "http://purl.org/dc/elements/1.1/",
    "terms": "http://purl.org/dc/terms/",
}
ABOUT = About("r² < 1 & more", "Bars: 95 % interval.", "3 features", "select '<&>'\nfrom x", "c-1", date(2026, 1, 2))
PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><metadata>old</metadata><text>r² &lt; é</text></svg>'
)


@pytest.fixture(scope="module")
def figure():
    found = Figure((2, 1))
    found.subplots().set_title("α")
    return found


def saved(figure, kind):
    stream = io.BytesIO()
    figure.savefig(stream, format=kind)
    return stream.getvalue()


def parsed(svg):
    return ElementTree.fromstring(svg.decode())


def test_an_svg_file_says_what_it_shows():
    root = parsed(svg_file(PICTURE, ABOUT))
    assert root.find("svg:title", SVG).text == ABOUT.title
    assert root.find("svg:desc", SVG).text == "Bars: 95 % interval. n: 3 features."
    (metadata,) = root.findall("svg:metadata", SVG)
    assert metadata.find(".//dc:source", SVG).text == ABOUT.sql
    assert metadata.find(".//terms:extent", SVG).text == ABOUT.n
    assert metadata.find(".//terms:isPartOf", SVG).text == ABOUT.collection
    assert [part.text for part in metadata.find(".//dc:date", SVG).iter() if part.text] == ["2026-01-02"]


@given(st.text(), st.text())
def test_an_svg_file_is_well_formed_whatever_it_says(title, sql):
    about = About(title, "", "", sql, "", date(2026, 1, 2))
    root = parsed(svg_file(PICTURE, about))
    assert root.find(".//dc:source", SVG).text or about.fields()["statement"] == ""


def test_an_svg_file_holds_the_font_of_its_characters_and_no_more():
    text = svg_file(PICTURE, ABOUT).decode()
    (font,) = re.findall(r"base64,([^)]+)\)", text)
    assert TTFont(io.BytesIO(base64.b64decode(font))).getBestCmap().keys() == set(map(ord, "r² <>é"))  # > mirrors <
    bold = svg_file(PICTURE.replace("<text>", '<text style="font-weight: 700">'), ABOUT).decode()
    assert bold.count("@font-face") == 2


def test_a_pdf_file_says_what_it_shows_to_another_reader(figure):
    made = pdf_file(saved(figure, "pdf"), ABOUT)
    document = pypdfium2.PdfDocument(made)
    told = document.get_metadata_dict()
    assert (told["Title"], told["Subject"]) == (ABOUT.title, "Bars: 95 % interval. n: 3 features.")
    assert (told["Creator"], told["CreationDate"]) == ("ATO platform", "D:20260102000000Z")
    assert document.get_metadata_value("Statement") == ABOUT.sql
    assert document.get_metadata_value("Collection") == ABOUT.collection
    packet = made[made.index(b"<x:xmpmeta") : made.index(b"</x:xmpmeta>") + len(b"</x:xmpmeta>")]
    assert ElementTree.fromstring(packet.decode()).find(".//dc:source", SVG).text == ABOUT.sql


def test_a_pdf_file_looks_as_it_did(figure):
    before = saved(figure, "pdf")
    pictures = [
        pypdfium2.PdfDocument(data)[0].render().to_pil().tobytes() for data in (before, pdf_file(before, ABOUT))
    ]
    assert pictures[0] == pictures[1]


def test_a_png_file_says_what_it_shows_and_looks_as_it_did(figure):
    before = saved(figure, "png")
    with Image.open(io.BytesIO(png_file(before, ABOUT))) as after, Image.open(io.BytesIO(before)) as old:
        assert after.tobytes() == old.tobytes()
        assert (after.text["Title"], after.text["Statement"]) == (ABOUT.title, ABOUT.sql)
        assert after.info["dpi"] == old.info["dpi"]
