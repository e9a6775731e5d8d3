"""Pages of labelled features: windows, histogram, strata and descriptions are of the latest labelling."""

import pytest

from ato.features.exports.expanded import feature_json
from ato.features.exports.sae_dashboard import DashboardSource, batch_json
from tests.warehouse.small_warehouse import COLLECTION, SAE, STARTED, build, row, write
from warehouse.catalog.feature_pages import FeaturePages
from warehouse.storage.manifests import PASSED, commit

NEURONS = "neurons-L04"
OWN = {"evidence": "evidence-new", "layer": 4, "feature_id": 2}


def _labelled(evidence: str, n_active: int, **values: object) -> dict:
    own = {"layer": 4, "feature_id": 2, "source": "sae", "place": 1, "ordered_by": "score", "n_tokens": 100}
    lens = {"promoted": [" c"], "promoted_logits": [3.0], "suppressed": [" d"], "suppressed_logits": [-3.0]}
    return row("labelled_features", evidence=evidence, n_active=n_active, max_activation=6.0, **(own | lens | values))


def _window(number: int, activations: list[float], **values: object) -> dict:
    own = {"window_id": number, "rank": 1, "corpus": "tiny", "document": number, "position": 2, "start": 1}
    own |= {"activation": activations[1], "activations": activations, "tokens": ["a", "日", ""], "split": "train"}
    return row("example_windows", **(OWN | own | values))


def _described(labelling: str, judge: str, text: str, **values: object) -> dict:
    own = {"labelling": labelling, "judge": judge, "description": text, "chosen": True}
    return row("feature_descriptions", **(OWN | own | values))


@pytest.fixture
def labelled(tmp_path):
    """The small warehouse, its feature 2 labelled twice, and a neuron of the same layer labelled once."""
    small = build(tmp_path / "warehouse")
    score = {
        "scorer": "detection",
        "tier": "all",
        "control": "none",
        "measure": "balanced_accuracy",
        "judge": "overlap",
    }
    stages = {
        ("label_evidence", "evidence-old", 0): {"labelled_features": [_labelled("evidence-old", 1)]},
        ("label_evidence", "evidence-new", 1): {
            "labelled_features": [_labelled("evidence-new", 25)],
            "example_windows": [
                _window(0, [0.0, 4.0, 0.0], kind="top", stratum="law"),
                _window(1, [0.0, 5.0, 0.0], kind="top", split="test"),
                _window(2, [0.0, 1.0, 0.0], kind="quantile", quantile=0.25),
                _window(3, [0.0, 0.0, 0.0], kind="silent", tier="random"),
            ],
            "feature_histograms": [
                row("feature_histograms", **OWN, bin=0, low=0.5, high=1.0, n=10),
                row("feature_histograms", **OWN, bin=2, low=2.0, high=4.0, n=10),
                row("feature_histograms", **OWN, bin=3, low=4.0, high=None, n=5),
            ],
            "feature_strata": [
                row("feature_strata", **OWN, stratum=stratum, value=value, n_tokens=n_tokens, n_active=n_active)
                for stratum, value, n_tokens, n_active in [
                    ("topic", "law", 40, 20),
                    ("topic", "sea", 60, 5),
                    ("region", "answer", 30, 25),
                    ("relative_position", "0", 10, 2),
                ]
            ],
        },
        ("label_evidence", "evidence-neurons", 2): {
            "labelled_features": [_labelled("evidence-neurons", 3, sae=NEURONS, source="neurons", feature_id=7)]
        },
        ("label", "labels-old", 3): {"feature_descriptions": [_described("labels-old", "overlap", "old words")]},
        ("label", "labels-new", 4): {
            "feature_descriptions": [
                _described("labels-new", "overlap", "words of law", candidate=1),
                _described("labels-new", "overlap", "worse", candidate=0, chosen=False),
            ],
            "description_scores": [row("description_scores", **OWN, labelling="labels-new", **score, score=0.9)],
        },
        ("label", "labels-model", 5): {"feature_descriptions": [_described("labels-model", "model", "courts")]},
    }
    for (stage, key, minute), tables in stages.items():
        files = write(small, tables, key)
        started = STARTED.replace(hour=1, minute=minute)
        commit(
            small,
            stage,
            key,
            collection=COLLECTION,
            settings={},
            files=files,
            quality=PASSED,
            started_at=started,
            seconds=1.0,
        )
    return FeaturePages(small, COLLECTION, SAE, 4, 3)


def test_windows_are_those_in_which_it_fires_and_quantiles_begin_at_zero(labelled):
    (page,) = labelled.read([2])
    assert [(group.name, len(group.examples)) for group in page.groups] == [
        ("Quantile 0 to 0.25", 1),
        ("Top activations", 2),
    ]
    top = page.group("top")
    assert [one.peak for one in top] == [5.0, 4.0]
    assert (top[1].origin.corpus, top[1].origin.stratum, top[1].tokens) == ("tiny", "law", ("a", "日", ""))


def test_counts_and_strata_are_of_the_latest_labelling(labelled):
    (page,) = labelled.read([2])
    assert page.activation_rate == 0.25
    assert page.tokens.by_domain == {"law": 40, "sea": 60}
    assert page.active.by_domain == {"law": 20, "sea": 5}
    assert (page.tokens.by_region, page.active.by_region) == ({"answer": 30}, {"answer": 25})
    assert (page.top_tokens, page.bottom_logits) == ((" c",), (-3.0,))


def test_counts_are_of_the_scoring_where_some_features_were_not_labelled(labelled):
    first, second = labelled.read([1, 2])
    assert first.tokens == second.tokens
    assert second.activation_rate == 0.2
    assert second.group("top")


def test_bins_without_activations_and_the_open_last_one_are_filled_in(labelled):
    (page,) = labelled.read([2])
    assert page.histogram_edges == (0.5, 1.0, 2.0, 4.0, 6.0)
    assert page.histogram_counts == (10, 0, 10, 5)
    assert len(feature_json(page)["quantile_values"]) == 99


def test_each_judge_says_its_latest_word_the_best_scored_first_and_published_ones_follow(labelled):
    (page,) = labelled.read([2])
    assert [(one.text, one.source, one.score) for one in page.descriptions] == [
        ("words of law", "overlap", 0.9),
        ("courts", "model", None),
        ("the letter b", "neuronpedia", None),
    ]


def test_features_that_were_labelled_are_shown(labelled):
    assert labelled.ids("shown") == [2]


def test_neurons_have_pages_too(labelled):
    pages = FeaturePages(labelled.warehouse, COLLECTION, NEURONS, 4, 8)
    assert pages.ids("shown") == pages.ids("all") == [7]
    (page,) = pages.read([7])
    assert feature_json(page)["is_neuron"] is True
    assert batch_json([page], DashboardSource("x", 4, NEURONS))["features"][0]["frac_nonzero"] == 0.03
