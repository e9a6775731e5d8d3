"""What a model of any size writes fits the schema, and its choices are those that it finds likelier."""

import json
import math
from collections.abc import Iterator

import jsonschema
import numpy as np
import pytest
import torch

from ato.autointerp.constrained import MOST_ITEMS, check_schema, write_json
from ato.autointerp.schemas import classification_schema, description_schema, intruder_schema, verdicts_schema
from ato.errors import InputError
from ato.models import LanguageModel, load_model
from ato.models.kept_text import KeptText
from ato.models.scoring import answer_log_probabilities
from tests.tiny_models import save_tiny_model

WIDE = {
    "type": "object",
    "properties": {
        "kind": {"const": "a \"quoted\" é"},
        "level": {"type": "integer", "minimum": -1, "maximum": 3},
        "label": {"enum": ["x", None, 2, "ü\""]},
        "nested": {"type": "array", "minItems": 2, "items": {"type": "object", "properties": {"yes": {"type": "boolean"}}}},
        "none": {"type": "array", "items": {"type": "boolean"}},
        "empty": {"type": "object", "properties": {}},
        "note": {"type": "string", "maxLength": 5},
    },
    "required": ["kind", "level", "label", "nested", "none", "empty", "note"],
}  # fmt: skip
SCHEMAS = [
    description_schema(),
    verdicts_schema(1),
    verdicts_schema(5),
    intruder_schema(5),
    classification_schema({"category": ["domain", "reasoning", "uninterpretable"], "confidence": ["high", "low"]}),
    WIDE,
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> LanguageModel:
    return load_model(save_tiny_model(tmp_path_factory.mktemp("llama")), dtype="float32")


def begun(model: LanguageModel, prompt: str) -> KeptText:
    text = KeptText(model)
    text.begin(model.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    return text


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_what_is_written_fits_the_schema_whatever_the_prompt(model, schema):
    for prompt in ("Describe it.", 'Say "no".\n', "é"):
        written = "".join(part.text for part in write_json(model, begun(model, prompt), schema, string_tokens=8))
        jsonschema.validate(json.loads(written), schema)


def test_choices_have_the_log_probabilities_of_a_whole_pass_normalised_by_their_length(model):
    schema = classification_schema({"category": ["ab", "abcdefghij", "c"]})
    *_, choice, _ = write_json(model, begun(model, "Which?"), schema)
    ids = [
        np.array(model.tokenizer(text)["input_ids"])
        for text in ('Which?{"category":', ' "ab"', ' "abcdefghij"', ' "c"')
    ]
    (sums,) = answer_log_probabilities(model, ids[:1], [ids[1:]])
    means = dict(zip(['"ab"', '"abcdefghij"', '"c"'], sums / [len(own) for own in ids[1:]]))
    total = math.log(sum(map(math.exp, means.values())))
    assert dict(choice.choices) == pytest.approx({text: value - total for text, value in means.items()}, abs=1e-4)
    assert (choice.text, choice.log_probability) == choice.choices[0]
    assert [value for _, value in choice.choices] == sorted((value for _, value in choice.choices), reverse=True)


def test_choices_are_made_behind_the_choices_before(model):
    first, second, last = (p for p in write_json(model, begun(model, "Which?"), verdicts_schema(3)) if p.choices)
    ids = [
        np.array(model.tokenizer(text)["input_ids"])
        for text in (f'Which?{{"answers": [{first.text}, {second.text},', " true", " false")
    ]
    (sums,) = answer_log_probabilities(model, ids[:1], [ids[1:]])
    means = sums / [len(own) for own in ids[1:]]
    assert dict(last.choices)["true"] == pytest.approx(means[0] - np.logaddexp(*means), abs=1e-4)


def test_calibrated_by_the_prompt_itself_all_choices_are_equally_likely(model):
    text, same = begun(model, "Which?"), begun(model, "Which?")
    parts = write_json(model, text, intruder_schema(4), same)
    (choice,) = (part for part in parts if part.choices)
    assert [value for _, value in choice.choices] == pytest.approx([math.log(1 / 4)] * 4, abs=1e-5)
    assert choice.text == "1"  # of equal ones the first
    plain = write_json(model, begun(model, "Which?"), intruder_schema(4))
    other = write_json(model, begun(model, "Which?"), intruder_schema(4), begun(model, "N/A"))
    assert plain != other
    assert text.ids == same.ids


def test_strings_are_greedy_and_as_long_as_they_may_be(model):
    parts = write_json(model, begun(model, "Describe."), description_schema(), string_tokens=5)
    (string,) = (part for part in parts if part.n_tokens)
    assert string.n_tokens <= 5
    assert string.log_probability < 0
    assert parts == write_json(model, begun(model, "Describe."), description_schema(), string_tokens=5)


@pytest.mark.parametrize(
    ("said", "expected"), [('say "no', "say"), ("x\ny", "x"), ('\\ é\t"', "\\ é"), ('a<eos>b"', "a"), ("é", "")]
)
def test_a_string_ends_where_the_model_ends_it(model, monkeypatch, said, expected):
    """At a quotation mark, a line's end, an end of text, or its limit; half a character is left out."""
    ids = iter(model.tokenizer(said)["input_ids"][: 1 if said == "é" else None])
    say_next(monkeypatch, model, ids)
    parts = write_json(model, begun(model, "?"), description_schema(), string_tokens=1 if said == "é" else 20)
    assert json.loads("".join(part.text for part in parts)) == {"description": expected}


def test_no_string_begins_with_its_end(model, monkeypatch):
    say_next(monkeypatch, model, iter(model.tokenizer('"ab"')["input_ids"]))
    text = begun(model, "?")
    (description,) = json.loads("".join(part.text for part in write_json(model, text, description_schema()))).values()
    assert len(description) == 3
    assert description.endswith("ab")
    assert model.tokenizer.decode(text.ids).startswith('?{"description": "')


def say_next(monkeypatch, model: LanguageModel, ids: Iterator[int]) -> None:
    """Let a model find these tokens the likeliest, one after the other."""

    def following(self: KeptText) -> torch.Tensor:
        scores = torch.full((model.vocabulary_size,), -10.0)
        scores[next(ids)] = -0.5
        scores[ord("a") + 3] += 0.1  # of the others, one with a visible character
        return scores

    monkeypatch.setattr(KeptText, "next_log_probabilities", following)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        [],
        None,
        {"type": "number"},
        {"type": "integer"},
        {"type": "integer", "minimum": 0, "maximum": 10**9},
        {"type": "array", "items": {"type": "boolean"}, "minItems": MOST_ITEMS + 1},
        {"type": "array", "minItems": 1},
        {"type": "object"},
        {"$ref": "#/x"},
        {"type": "object", "properties": {"a": {"anyOf": []}}},
    ],
)
def test_a_schema_that_cannot_be_filled_is_refused_in_one_line(schema):
    with pytest.raises(InputError, match=r"the schema cannot be filled \(reply.*\): use objects"):
        check_schema(schema)
