"""Spans and positions of prompts, for tokenizers that count spaces to words, split letters or add tokens of their own."""

import numpy as np
import pytest

from ato.entities.catalog import Entity
from ato.entities.prompts import FAMILIES, Dropped, Prompt, PromptMaker
from ato.entities.questions import TEMPLATES
from ato.errors import ModelError, SettingsError
from tests.tiny_models import byte_tokenizer

TRAINING = [
    "The city 'New York' is in the country. What country contains the city of 'Paris'? São Tomé 🇫🇷 New New York is York"
] * 4
NAMES = (
    "Paris",
    "New  York",
    "São Tomé",
    "🇫🇷 city",
    "city",
    "'s-Gravenhage",
    "Washington, D.C.",
    "The",
    "İzmir",
    "e\u0301cole",
)
CHAT = (
    "{{ bos_token }}{% for message in messages %}<turn>{{ message['role'] }}\n{{ message['content'] | trim }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
BOS_TURNS = (
    "{% for message in messages %}<bos>{{ message['role'] }}\n{{ message['content'] }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<bos>model\n{% endif %}"
)


def bpe(trim_offsets: bool = False, add_prefix_space: bool = False, adds_bos: bool = False):
    """A byte-level BPE as of GPT-2, trained on a few words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<bos>", "<eos>", "<turn>", "<end>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    steps = [processors.ByteLevel(trim_offsets=trim_offsets)]
    if adds_bos:
        steps.append(processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)]))
    tokenizer.post_processor = processors.Sequence(steps)
    return fast(tokenizer)


def metaspace():
    """A BPE as of SentencePiece: words begin with the space before them, unknown characters are bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    special = ["<bos>", "<eos>", "<turn>", "<end>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([text.replace("🇫🇷", "") for text in TRAINING], trainer)
    return fast(tokenizer)


def fast(tokenizer):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=["<turn>", "<end>"],
        chat_template=CHAT,
    )


TOKENIZERS = {
    "bytes": byte_tokenizer,
    "spaces in offsets": bpe,
    "trimmed offsets": lambda: bpe(trim_offsets=True),
    "prefix space": lambda: bpe(add_prefix_space=True),
    "adds BOS": lambda: bpe(adds_bos=True),
    "metaspace": metaspace,
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


def city(name: str) -> Entity:
    return Entity("city", name, (), "test")


def made(prompt: Prompt | Dropped) -> Prompt:
    assert isinstance(prompt, Prompt), prompt
    return prompt


def characters_of(tokenizer, prompt: Prompt, start: int, end: int) -> set[int]:
    """Characters of the prompt's text that tokens start ... end hold, by the raw offsets: an oracle without stripping."""
    encoded = tokenizer(prompt.text, add_special_tokens=False, return_offsets_mapping=True)
    shift = len(prompt.token_ids) - len(encoded["input_ids"])
    assert list(prompt.token_ids[shift:]) == list(encoded["input_ids"])
    pairs = encoded["offset_mapping"][start - shift : end - shift]
    return {at for first, behind in pairs for at in range(first, behind) if not prompt.text[at].isspace()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "{entity} is a city",
        "The city of {entity}",
        "  {entity}  ",
        "city, {entity}, is the city {entity}",
        "'{entity}'?",
    ],
)
def test_the_span_is_the_tokens_that_hold_the_name_and_no_others(tokenizer, name, text):
    prompt = made(PromptMaker(tokenizer, "continuation").custom(text, city(name)))
    assert len(prompt.mentions) == text.count("{entity}")
    start, end = prompt.span
    assert prompt.span == prompt.mentions[-1]
    last = len(text[: text.rindex("{entity}")].format(entity=name))
    of_name = {at for at in range(last, last + len(name)) if not prompt.text[at].isspace()}
    assert of_name <= characters_of(tokenizer, prompt, start, end)
    for outer in ((0, start), (end, len(prompt.token_ids))):  # nothing of the name is left outside
        assert not of_name & characters_of(tokenizer, prompt, *outer)
    for edge in ((start, start + 1), (end - 1, end)):  # both ends are needed
        assert of_name & characters_of(tokenizer, prompt, *edge)
    assert prompt.positions["entity_first"] == start
    assert prompt.positions["entity_last"] == end - 1
    assert prompt.positions["question_end"] == len(prompt.token_ids) - 1


def test_a_name_equal_to_the_word_for_its_type_is_found_where_the_template_has_it():
    prompt = made(PromptMaker(byte_tokenizer(), "continuation").name(city("city")))
    assert prompt.text == "The city 'city'"
    assert prompt.span == (10, 14)


def test_a_continuation_mentions_the_entity_twice_and_reads_the_last():
    prompt = made(PromptMaker(byte_tokenizer(), "continuation").question(city("Oslo"), "city_country"))
    assert prompt.text == ("What country contains the city of 'Oslo'? The country that contains the city 'Oslo' is")
    assert [prompt.text[a:b] for a, b in prompt.mentions] == ["Oslo", "Oslo"]
    assert prompt.span == (prompt.text.rindex("Oslo"), prompt.text.rindex("Oslo") + 4)


def test_marked_places_are_positions_and_are_not_in_the_text():
    prompt = made(
        PromptMaker(byte_tokenizer(), "continuation").custom("{entity} lies[[verb]] in", city("[[x]]{entity}"))
    )
    assert prompt.text == "[[x]]{entity} lies in"
    assert prompt.text[prompt.positions["verb"]] == "s"


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_template_makes_a_prompt_of_every_family(family, template):
    prompt = made(
        PromptMaker(bpe(), family).question(Entity(template.entity_type, "São York", (), "test"), template.name)
    )
    question = template.question.format(entity="São York")
    assert prompt.text.count(question) == 1
    assert prompt.token_ids.dtype == np.int32
    ends = {"continuation": template.continuation.format(entity="São York") or "?", "chat_free": "model\n"}
    assert prompt.text.endswith(ends.get(family, template.prefill or "model\n"))


def test_in_chats_the_last_token_before_the_answer_is_a_position_whatever_the_prefill(tokenizer):
    if tokenizer.chat_template is None:
        tokenizer.chat_template = BOS_TURNS
    free = made(PromptMaker(tokenizer, "chat_free").question(city("Paris"), "city_country"))
    prefilled = made(PromptMaker(tokenizer, "chat_prefill").question(city("Paris"), "city_country"))
    assert free.positions["last_eoi"] == free.positions["question_end"]
    assert prefilled.positions["last_eoi"] == free.positions["last_eoi"] < prefilled.positions["question_end"]
    assert prefilled.span == free.span
    assert free.text.endswith("model\n")
    assert prefilled.text == free.text + "Country (official name)="


def test_bos_is_there_once_if_the_tokenizer_adds_it_or_is_told_to():
    plain, adding = bpe(), bpe(adds_bos=True)
    bos = plain.bos_token_id
    entity = city("Paris")
    assert list(made(PromptMaker(plain, "continuation").name(entity)).token_ids).count(bos) == 0
    assert list(made(PromptMaker(adding, "continuation").name(entity)).token_ids).count(bos) == 1
    assert list(made(PromptMaker(adding, "continuation", add_bos=False).name(entity)).token_ids).count(bos) == 0
    told, untold = (made(PromptMaker(plain, "continuation", add_bos=add).name(entity)) for add in (True, False))
    assert told.token_ids[0] == bos
    assert list(told.token_ids[1:]) == list(untold.token_ids)
    assert told.span == tuple(at + 1 for at in untold.span)
    for family in ("chat_prefill", "chat_free"):  # the template writes BOS itself
        for add in (None, True, False):
            prompt = made(PromptMaker(adding, family, add_bos=add).question(entity, "city_country"))
            assert list(prompt.token_ids).count(bos) == 1


def test_a_template_whose_turns_begin_with_bos_has_one_a_turn_and_a_second_at_the_start_is_an_error():
    tokenizer = bpe()
    tokenizer.chat_template = BOS_TURNS
    prompt = made(PromptMaker(tokenizer, "chat_free").question(city("Paris"), "city_country"))
    assert list(prompt.token_ids).count(tokenizer.bos_token_id) == 2
    tokenizer.chat_template = "{{ bos_token }}" + BOS_TURNS
    with pytest.raises(ModelError, match="BOS tokens"):
        PromptMaker(tokenizer, "chat_free").question(city("Paris"), "city_country")
    with pytest.raises(ModelError, match="2 BOS tokens where 1 may be"):
        PromptMaker(tokenizer, "continuation").custom("<bos><bos>The {entity}", city("Paris"))


def test_what_cannot_be_asked_is_dropped_with_the_reason_and_nothing_is_shifted():
    maker = PromptMaker(byte_tokenizer(), "continuation", max_tokens=20)
    prompts = [maker.name(city(name)) for name in ("Oslo", "Llanfairpwllgwyngyll", "<eos>", "Rome")]
    assert [type(prompt) for prompt in prompts] == [Prompt, Dropped, Dropped, Prompt]
    assert prompts[1] == Dropped("the prompt has more than 20 tokens")
    assert prompts[2] == Dropped("the name holds a special token")
    assert maker.name(city(" ")) == Dropped("the name has no token")


def test_chat_families_need_a_chat_template_and_spans_need_offsets():
    class Slow:
        is_fast = False

    with pytest.raises(SettingsError, match="a base model"):
        PromptMaker(byte_tokenizer(), "chat_free")
    with pytest.raises(ModelError, match="no character offsets"):
        PromptMaker(Slow(), "continuation")
    with pytest.raises(SettingsError, match="unknown family"):
        PromptMaker(byte_tokenizer(), "chat")
    tokenizer = bpe()
    tokenizer.chat_template = "no question"
    with pytest.raises(ModelError, match="exactly once"):
        PromptMaker(tokenizer, "chat_free")
    with pytest.raises(ModelError, match="changes the question"):
        PromptMaker(bpe(), "chat_free").custom(" {entity}?", city("Paris"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no name", r"has no \{entity\}"),
        ("[[a]]{entity}", "no token in front"),
        ("{entity}[[a]] b[[a]]", "marked twice"),
        ("{entity}[[entity_last]]", "cannot be named entity_last"),
    ],
)
def test_a_text_of_ones_own_that_cannot_be_used_is_an_error(text, message):
    with pytest.raises(SettingsError, match=message):
        PromptMaker(bpe(), "continuation").custom(text, city("Paris"))


def test_unknown_templates_and_those_of_other_types_are_errors():
    maker = PromptMaker(bpe(), "continuation")
    with pytest.raises(SettingsError, match="unknown template 'city_colour'"):
        maker.question(city("Paris"), "city_colour")
    with pytest.raises(SettingsError, match="does not ask about city"):
        maker.question(city("Paris"), "song_album")
    with pytest.raises(SettingsError, match="no prefill"):
        maker.custom("{entity}", city("Paris"), "x")


@pytest.mark.slow
def test_the_embedded_model_is_asked_in_all_families():
    from ato.models import load_model

    tokenizer = load_model("smollm2-135m", device="cpu").tokenizer
    for family in FAMILIES:
        for name in NAMES:
            prompt = made(PromptMaker(tokenizer, family).question(city(name), "city_country"))
            start, end = prompt.span
            assert name.strip() in tokenizer.decode(prompt.token_ids[start:end])
            assert ("last_eoi" in prompt.positions) == (family != "continuation")
    assert tokenizer.decode(prompt.token_ids[prompt.positions["last_eoi"]]) == "\n"
