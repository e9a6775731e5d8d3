"""Small pictures of findings: each mark is a number of the rows, at its place, and none is drawn for what is missing."""

import re
import xml.etree.ElementTree as ET

import pytest

from dashboards.views.overview.pictures import END, LINE, MEASURES, MOST_ROWS, SHARES, WIDTH, WORDS, _room, picture
from tests.dashboards.whole_study import build_whole_study
from tests.warehouse.small_warehouse import COLLECTION
from warehouse.catalog.catalog import rows
from warehouse.catalog.finding_texts import _TEXTS, OF_COLLECTION, Finding, findings_of, interval

SVG = "{http://www.w3.org/2000/svg}"


def finding(name, numbers):
    blank = dict.fromkeys(("subject", "source_layer", "target_layer", "low", "high", "n", "unit"))
    return Finding(name, "Topic", "transport", "Said.", [blank | {"finding": name} | number for number in numbers])


def by_leap(values):
    return finding(
        "features_by_leap",
        [
            {"source_layer": i, "target_layer": 90, "measure": "mean_r2", "value": v, "low": lo, "high": hi}
            for i, (v, lo, hi) in enumerate(values)
        ],
    )


def test_every_finding_has_a_picture_and_every_measure_a_name():
    assert set(MEASURES) | set(SHARES) == set(_TEXTS)
    assert {measure for measures in MEASURES.values() for measure in measures} <= set(WORDS)


def test_a_dot_stands_at_its_value_and_its_line_spans_the_interval():
    drawn = ET.fromstring(picture(by_leap([(0.5, 0.25, 0.75), (1.0, None, None)])).svg)
    first, second = drawn.findall(f"{SVG}g")
    left, _ = _room(["0 → 90"])
    width = WIDTH - left - END
    assert float(first.find(f"{SVG}circle").get("cx")) == pytest.approx(left + 0.5 * width, abs=0.1)
    line = first.find(f"{SVG}line")
    assert [float(line.get(end)) for end in ("x1", "x2")] == pytest.approx(
        [left + s * width for s in (0.25, 0.75)], abs=0.1
    )
    assert second.find(f"{SVG}line") is None, "no interval, no line"
    assert first.find(f"{SVG}title").text == "0 → 90: mean r2 0.50 [0.25, 0.75]"


def test_shares_are_bars_as_long_as_they_are():
    numbers = [
        {"source_layer": 1, "target_layer": 2, "measure": f"share_{name}", "value": share}
        for name, share in (("transported", 0.5), ("computed", 0.25), ("undetermined", 0.25))
    ]
    bars = ET.fromstring(picture(finding("feature_verdicts", numbers)).svg).findall(f"{SVG}rect")
    assert [float(bar.get("width")) / (WIDTH - _room(["1 → 2"])[0] - END) for bar in bars] == pytest.approx(
        [0.5, 0.25, 0.25], abs=0.01
    )


@pytest.mark.parametrize("kinds", ["batchtopk before topk", "matryoshka_batchtopk before topk, k = 4, 12,288 features"])
def test_labels_are_whole_beside_their_marks_or_above(kinds):
    name = f"layer 4, {kinds}"
    rows = [{"target_layer": 4, "subject": kinds, "measure": "fvu_difference", "value": -0.05}]
    drawn = picture(finding("sae_architectures", rows)).svg
    assert f">{name}</text>" in drawn
    left, step = _room([name])
    assert left <= WIDTH * 0.56, "half of the picture is left for the marks"
    assert (step == LINE) == (left > END)


def test_only_signs_are_coloured_in_a_legend():
    drawn = ET.fromstring(picture(by_leap([(0.5, 0.4, 0.6)])).svg)
    assert {text.get("fill") for text in drawn.iter(f"{SVG}text")} == {"#808080"}
    assert [sign.get("fill") for sign in drawn.iter(f"{SVG}tspan")] == ["#0072B2"]


def test_many_pairs_are_drawn_close_without_labels():
    few, many = (picture(by_leap([(0.5, 0.4, 0.6)] * n)).svg for n in (MOST_ROWS, 50))
    assert "11 → 90</text>" in few
    assert "11 → 90</text>" not in many
    assert float(re.search(r'height="(\d+)"', many)[1]) < 300


def test_names_from_elsewhere_are_text_not_markup():
    drawn = picture(finding("graph_transport", [{"subject": "<script>", "measure": "transport_share", "value": 0.5}]))
    assert "<script>" not in drawn.svg


def test_every_number_of_a_whole_study_stands_in_its_picture(tmp_path):
    store = build_whole_study(tmp_path / "warehouse")
    for found in findings_of(rows(store, OF_COLLECTION, {"collection": COLLECTION})):
        drawn = picture(found)
        titles = [title.text for title in ET.fromstring(drawn.svg).iter(f"{SVG}title")]
        shown = {*MEASURES.get(found.name, ()), *SHARES.get(found.name, ())}
        percent = found.name in SHARES
        expected = [interval(row, percent=percent) for row in found.rows if row["measure"] in shown]
        assert sorted(title.rsplit(measure_in(title), 1)[1].strip() for title in titles) == sorted(expected)
        assert found.topic in drawn.alt


def measure_in(title):
    """The measure's name in a title: the longest that it has."""
    return max((word for word in WORDS.values() if f": {word} " in title), key=len)
