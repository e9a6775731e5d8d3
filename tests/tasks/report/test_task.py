"""The report: a page that needs nothing else, whose figures are their SQL, drawn the same from the same tables."""

import re
import struct
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from ato.errors import InputError
from tasks.report.claims import claims
from tasks.report.drawing import _figure, _style, svg
from tasks.report.features import _window
from tasks.report.panels import open_scope, spread
from tasks.report.task import write_report
from tasks.settings import ReportSettings
from tests.tasks.report.flat_report import report_panels
from tests.tasks.reported_study import (
    COLLECTION,
    COST,
    N_FEATURES,
    PAIRS,
    SAES,
    SELECTED,
    SETS,
    build_study,
    causal_rows,
    mean_r2,
)
from tests.warehouse.small_warehouse import collect_rows, commit_stage, row, write
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.finding_texts import OF_COLLECTION, findings_of
from warehouse.catalog.query import run_select
from warehouse.storage.warehouse import Warehouse

FIGURES = {
    "feature-r2",
    "transport-map",
    "efficiency",
    "causal",
    "causal-differences",
    "scaling",
    "spectra",
    "composition",
}
VOID = {"meta", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Parses a page strictly: every element is closed in order; keeps what tests ask about."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.sql: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if (tag, dict(attrs).get("class")) == ("code", "sql"):
            self.sql.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.sql and self.open[-3:] == ["details", "pre", "code"]:
            self.sql[-1] += data


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The planted study: its warehouse and the address of its report."""
    root = tmp_path_factory.mktemp("report")
    warehouse = build_study(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(root))
        yield warehouse, Path(write_report.fn(COLLECTION, ReportSettings()))


@pytest.fixture(scope="module")
def scope(study):
    return open_scope(study[0], COLLECTION)


@pytest.fixture(scope="module")
def panels(scope):
    return {panel.key: panel for panel in report_panels(scope, ReportSettings())}


def test_the_page_is_well_formed_and_asks_for_nothing_from_elsewhere(study):
    text = study[1].read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"https?://|@import|\burl\((?!#)", text)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "img", "object"}
    assert all(value.startswith("#") for _, found in page.elements if (value := found.get("href") or found.get("src")))


def test_ids_are_unique_and_every_reference_meets_one(study):
    text = study[1].read_text(encoding="utf-8")
    ids = [found["id"] for _, found in Page(text).elements if "id" in found]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"""(?:href="|url\()#([^")]+)""", text)) <= set(ids)


def test_every_figure_has_its_picture_sql_n_and_words_for_those_who_do_not_see_it(study, panels):
    text = study[1].read_text(encoding="utf-8")
    described = [found.get("aria-label") for _, found in Page(text).elements if found.get("role") == "img"]
    assert {key for key, panel in panels.items() if panel.draw} == FIGURES
    assert len(described) == len(FIGURES)
    assert all(len(words) > 20 for words in described)
    for panel in panels.values():
        assert not panel.absent
        section = text.split(f'<section id="{panel.key}">')[1].split("</section>")[0]
        assert f"n: {panel.n}" in unescape(section)
        assert re.search(r"\d", panel.n)
        assert 'class="sql"' in section


def test_the_sql_on_the_page_runs_as_it_stands_and_gives_what_is_drawn(study, scope, panels):
    page = Page(study[1].read_text(encoding="utf-8"))
    checked = claims(scope)
    n_found = len(scope.ask(f"select distinct finding from findings where {scope.of_collection}"))
    assert n_found > 4
    assert page.sql[n_found:] == [*(claim.sql for claim in checked), *(panel.sql for panel in panels.values())]
    connection = connect(study[0])  # as `ato sql` has it
    for sql in page.sql:
        assert run_select(connection, sql).fetchall()
    for panel in panels.values():
        again = scope.ask(panel.sql)
        if panel.draw:
            assert again == panel.rows
        assert len(again) == len(panel.rows)


def test_findings_stand_first_in_the_words_of_the_page_and_the_terminal(study):
    text = study[1].read_text(encoding="utf-8")
    found = findings_of(rows(study[0], OF_COLLECTION, {"collection": COLLECTION}))
    assert len(found) > 4
    section = unescape(text.split('<section id="findings">')[1].split("</section>")[0])
    assert all(finding.text in section and finding.topic in section for finding in found)
    assert text.index('id="findings"') < text.index("<dl>") < text.index('id="claims"')


def test_the_figures_show_the_planted_numbers(panels):
    (deep,) = [r for r in panels["feature-r2"].rows if (r["target_layer"], r["leap"]) == (6, 5)]
    assert (deep["features"], deep["n_features"]) == ("all", N_FEATURES)
    assert deep["mean_r2"] == pytest.approx(mean_r2(1, 6))
    cells = {(r["source_layer"], r["target_layer"]): r["r2_test"] for r in panels["transport-map"].rows}
    assert cells == {pair: pytest.approx(mean_r2(*pair)) for pair in PAIRS}
    costs = {r["intervention"]: r["delta_log_ppl"] for r in panels["causal"].rows if r["target_layer"] == 6}
    assert costs == {name: pytest.approx(cost) for name, cost in COST.items()}
    assert {r["position_set"] for r in panels["causal"].rows} == {"study"}
    assert {r["target_layer"] for r in panels["efficiency"].rows} == {6}
    assert "0.79" in svg("transport-map", panels["transport-map"].draw, panels["transport-map"].rows)


def test_maps_and_claims_are_over_all_scored_features_and_over_the_selected_ones_on_request(study, panels):
    of_selected = mean_r2(1, 6) + 0.02 * (3.5 - 9.5) / 19
    scope = open_scope(study[0], COLLECTION, "selected")
    few = {panel.key: panel for panel in report_panels(scope, ReportSettings())}
    for shown, n, expected in ((panels, N_FEATURES, mean_r2(1, 6)), (few, len(SELECTED), of_selected)):
        (cell,) = [r for r in shown["transport-map"].rows if (r["source_layer"], r["target_layer"]) == (1, 6)]
        assert (cell["n_features"], cell["feature_r2"]) == (n, pytest.approx(expected))
        (deep,) = [r for r in shown["feature-r2"].rows if (r["target_layer"], r["leap"]) == (6, 5)]
        assert (deep["n_features"], deep["mean_r2"]) == (n, pytest.approx(expected))
    assert "all scored features" in panels["transport-map"].caption
    assert "the selected features" in few["transport-map"].caption
    (claim,) = [claim for claim in claims(scope) if claim.claim.startswith("Mean per-feature r2 falls")]
    assert f"{of_selected:.2f} [" in claim.evidence


def test_the_lowest_source_is_on_top_as_on_the_page_and_in_the_terminal(panels):
    figure = Figure()
    panels["transport-map"].draw(figure, panels["transport-map"].rows)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low > high
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1", "2", "3", "4", "5"]


def test_no_legend_lies_over_a_curve(panels):
    for panel in panels.values():
        if panel.draw is None:
            continue
        with _style(panel.key):
            figure = _figure(panel.draw, panel.rows)
            figure.canvas.draw()
        legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
        for legend in legends:
            box = legend.get_window_extent()
            assert not [axes for axes in figure.axes if box.overlaps(axes.get_window_extent())], panel.key


def test_transport_is_held_against_the_identity_first(panels, scope):
    rows = panels["causal-differences"].rows
    assert [row["rival"] for row in rows[:5]] == ["identity", "mean", "bias", "random_rotation", "zero"]
    assert rows[0]["difference"] == pytest.approx(COST["transport"] - COST["identity"])
    assert f"identity: {len(PAIRS)} of {len(PAIRS)}" in panels["causal-differences"].caption
    costs = [claim for claim in claims(scope) if claim.claim.startswith("Transport costs less")]
    assert [claim.claim.removeprefix("Transport costs less perplexity than ") for claim in costs] == [
        "the identity",
        "mean",
        "bias",
        "random rotation",
        "zero",
    ]


def test_pairs_tried_with_two_methods_are_counted_once(tmp_path):
    warehouse = build_study(tmp_path)
    again = {
        table: [found | {"method": "rrr", "evaluation": f"{found['evaluation']}-rrr"} for found in some]
        for table, some in causal_rows().items()
    }
    commit_stage(warehouse, "causal", write(warehouse, again, "second"), key="second")
    scope = open_scope(warehouse, COLLECTION)
    found = {panel.key: panel for panel in report_panels(scope, ReportSettings())}
    assert {row["method"] for key in ("causal", "causal-differences") for row in found[key].rows} == {"ridge"}
    assert f"identity: {len(PAIRS)} of {len(PAIRS)}" in found["causal-differences"].caption
    (zero,) = [claim for claim in claims(scope) if claim.claim.endswith("than zero")]
    assert f"({len(PAIRS) * len(SETS) * 10:,} paired sequences" in zero.evidence


@pytest.mark.slow
def test_equal_tables_give_equal_bytes(study):
    folder = study[1].parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert Path(write_report.fn(COLLECTION, ReportSettings())) == study[1]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_each_figure_is_a_png_of_its_own(study):
    files = {path.stem: path.read_bytes() for path in study[1].parent.glob("*.png")}
    assert set(files) == FIGURES
    for data in files.values():
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", data[16:24])
        assert width > 1000
        assert height > 200
        assert data.endswith(b"IEND\xaeB`\x82")


def test_tokens_of_examples_are_escaped_and_shaded_by_their_activation(study):
    text = study[1].read_text(encoding="utf-8")
    assert 'background:rgba(230,159,0,1.00)" title="3.500"> &lt;i&gt;&amp;</span>' in text
    assert 'background:rgba(230,159,0,0.36)" title="1.250"> of</span>' in text
    assert "words of peace &amp; war" in text
    assert "causal effect 0.0100 [0.0060, 0.0140] on 12 documents" in text
    assert "<i>" not in text


def test_planted_claims_are_answered_yes_with_numbers(scope):
    found = {claim.claim: claim for claim in claims(scope)}
    assert [(claim.claim, claim.evidence) for claim in found.values() if claim.answer != "yes"] == []
    zero = found["Transport costs less perplexity than zero"]
    # Costs grow by one percent a sequence, sequences 0 to 9: 1.045 on average.
    assert f"{1.045 * (COST['transport'] - COST['zero']):+.4f} [" in zero.evidence
    assert f"95 % interval below 0 for {len(PAIRS)} pairs" in zero.evidence


def test_a_deviation_is_stated_as_no(tmp_path):
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    rising = [
        row(
            "operators",
            operator=f"r{k}",
            source_layer=1,
            leap=k,
            target_layer=1 + k,
            r2_test=0.2 * k,
            r2_test_low=0.2 * k - 0.05,
            r2_test_high=0.2 * k + 0.05,
        )
        for k in (1, 2)
    ]
    own = {"evaluation": "evaluate-1", "source_layer": 1, "leap": 1, "target_layer": 2, "positions": "5"}
    losses = [
        row("causal_perplexity", **own, intervention=name, sequence_id=s, document=s, log_ppl=loss + s)
        for name, loss in (("transport", 2.0), ("zero", 1.0))
        for s in range(5)
    ]
    effects = [row("causal_effects", **own, intervention=name) for name in ("transport", "zero")]
    tables = {"operators": rising, "causal_perplexity": losses, "causal_effects": effects}
    commit_stage(warehouse, "evaluate", write(warehouse, tables))
    answers = {claim.claim: claim for claim in claims(open_scope(warehouse, COLLECTION))}
    assert answers["Residual r2 falls with the leap, from every source"].answer == "no"
    zero = answers["Transport costs less perplexity than zero"]
    assert (zero.answer, "+1.0000 [+1.0000, +1.0000]" in zero.evidence) == ("no", True)
    assert answers["Transport costs less perplexity than bias"].answer == "inconclusive"


@pytest.mark.parametrize(
    ("half", "answer"), [(0.2, "inconclusive"), (0.04, "no"), (None, "inconclusive")], ids=["within", "beyond", "none"]
)
def test_a_rise_is_a_no_only_beyond_the_intervals(half, answer, tmp_path):
    def r2(value):
        ends = {"low": None, "high": None} if half is None else {"low": value - half, "high": value + half}
        return {"r2_test": value} | {f"r2_test_{end}": limit for end, limit in ends.items()}

    operators = [
        row("operators", operator=f"r{k}", source_layer=1, leap=k, target_layer=1 + k, **r2(value))
        for k, value in ((1, 0.9), (2, 0.5), (3, 0.6))
    ]
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "operators", write(warehouse, collect_rows() | {"operators": operators}))
    residual, *_ = claims(open_scope(warehouse, COLLECTION))
    assert residual.answer == answer


def test_a_collection_of_which_nothing_was_made_yet_gives_a_page_of_one_line_notes(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    text = Path(write_report.fn(COLLECTION, ReportSettings())).read_text(encoding="utf-8")
    Page(text)
    assert "<svg" not in text
    assert text.count("No data: ") == len(FIGURES) + 2
    assert "no layer has two leaps yet" in text


def test_settings_leave_out_pngs_and_examples(study, monkeypatch, scope):
    panels = report_panels(scope, ReportSettings(n_example_features=1))
    (examples,) = [panel for panel in panels if panel.key == "feature-examples"]
    assert len({(r["sae"], r["feature_id"]) for r in examples.rows}) == 1
    (none,) = [p for p in report_panels(scope, ReportSettings(n_example_features=0)) if p.key == "feature-examples"]
    assert none.absent


def test_without_png_only_the_page_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    warehouse = Warehouse(tmp_path)
    operators = [row("operators", operator="ridge", source_layer=2, leap=2, target_layer=4, r2_test=0.5)]
    commit_stage(warehouse, "collect", write(warehouse, collect_rows() | {"operators": operators}))
    address = Path(write_report.fn(COLLECTION, ReportSettings(png=False)))
    assert {path.name for path in address.parent.iterdir()} == {"report.html", "stamp.txt"}


def test_an_unknown_collection_is_refused(study):
    with pytest.raises(InputError, match="no collection 'other-1'"):
        write_report.fn("other-1", ReportSettings())


def test_spread_keeps_both_ends():
    assert spread(range(1, 11), 4) == [1, 4, 7, 10]
    assert spread([3, 1, 3], 4) == [1, 3]
    assert spread(range(9), 1) == [0]


def test_every_sae_is_in_the_head(study):
    text = study[1].read_text(encoding="utf-8")
    assert all(f"<td>{layer}</td>" in text for layer in SAES)
    assert "1 of 2 SAEs fail a quality threshold" in text


def test_tokens_of_examples_neither_reverse_their_neighbours_nor_control_anything():
    row = {
        "sequence_id": 1,
        "position": 0,
        "activation": 1.0,
        "tokens": ["a\u202eb", "\x00"],
        "activations": [1.0, 0.0],
    }
    assert ">a\ufffdb</span>" in _window(row)
    assert ">\u2400</span>" in _window(row)
