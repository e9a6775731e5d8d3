"""Examples of one feature: escaped, coloured, and linked to their sequence."""

from dashboards.ui.windows import coloured
from tests.dashboards.opened_pages import panels
from tests.dashboards.views.features.opened_feature import read_feature
from tests.tasks.reported_study import SAES


def test_text_of_the_corpus_is_escaped_and_coloured_by_activation():
    shown = coloured(["<script>alert(1)</script>", " &", "\n\n", "\n", "."], [1.0, 4.0, 0.0, 2.0, 0.0], 4.0, centre=1)
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert ">·&amp;</span>" in shown, "spaces of coloured tokens are visible"
    assert "↵↵" in shown
    assert ">↵</span>" in shown
    opacity = [float(part.split(")")[0]) for part in shown.split("rgba(230, 159, 0,")[1:]]
    assert opacity[1] > opacity[2] > opacity[0] > 0
    assert 'title="4.000"' in shown
    assert shown.count("underline;") == 1
    assert shown.count("<span") == 3, "silent tokens have no colour"


def test_attributes_cannot_be_broken_out_of():
    assert '"><img' not in coloured(['"><img src=x onerror=alert(1)>'], [1.0], 1.0, centre=0)


def test_examples_of_each_kind_lead_to_their_sequence(study):
    app = read_feature(0, sae=SAES[4])
    panel = panels(app)["Activating examples"]
    assert list(panel.rows["kind"]) == ["top", "top"]
    html = [block.proto.body for block in app.get("html") if "pre-wrap" in block.proto.body]
    assert len(html) == 2
    assert "·&lt;i&gt;&amp;" in html[0]
    texts = panel.rows.select("corpus", "document_id", "position", "sequence_id").rows()
    links = [leaf.proto.label for leaf in app.get("page_link")]
    for corpus, document, position, sequence in texts:
        origin = f"position {position} of sequence {sequence}, {corpus}, document {document}"
        assert any(origin in label for label in links)


def test_tokens_neither_reverse_their_neighbours_nor_control_anything():
    assert "a\ufffdb\u2400" in coloured(["a\u202eb\x00"], [1.0], 1.0, centre=0)
    assert "a\ufffdb" in coloured(["a\u202eb"], [0.0], 1.0, centre=0)


def test_marked_tokens_are_boxed_and_a_character_of_several_tokens_is_one_piece():
    shown = coloured(["a", "é", "", "b"], [0.0, 1.0, 3.0, 0.0], 3.0, marked=(2,))
    assert shown.count("<span") == 1
    assert 'title="3.000">é</span>' in shown
    assert shown.count("outline:1px") == 1
