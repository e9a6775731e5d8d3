"""Prompts of graphs: ids, targets and files, and one line for everything that is no prompt."""

import json

import pytest

from ato.errors import CorpusError, InputError
from ato.graphs.prompts import PromptMaker, read_prompts


@pytest.fixture(scope="module")
def tokenizer():
    """A word a token: `` the`` and ``the`` are two, `` Paris`` is one and ``Paris`` is two."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [
        "<unk>",
        "<bos>",
        "The",
        " the",
        "the",
        " capital",
        " of",
        " France",
        " is",
        " Paris",
        "Par",
        "is",
        "\n",
        "Q",
        ".",
    ]
    bpe = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n| ?[A-Za-z]+|\."), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<bos>", unk_token="<unk>")


class Words:
    """The tokenizer with ``Paris`` in two parts, and without offsets or other graces."""

    def __init__(self, tokenizer):
        self.tokenizer, self.decode = tokenizer, tokenizer.decode
        self.bos_token_id, self.unk_token_id = tokenizer.bos_token_id, tokenizer.unk_token_id

    def __call__(self, text, add_special_tokens):
        ids = self.tokenizer.convert_tokens_to_ids
        if text == "Paris":
            return {"input_ids": ids(["Par", "is"])}
        return self.tokenizer(text, add_special_tokens=add_special_tokens)


@pytest.fixture(scope="module")
def maker(tokenizer):
    return PromptMaker(Words(tokenizer), context=8, add_bos=True)


def words(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens(list(ids))


def test_the_last_token_is_the_target_and_no_part_of_the_prompt(maker, tokenizer):
    prompt = maker.prompt("The capital of France is Paris")
    assert words(tokenizer, prompt.token_ids) == ["<bos>", "The", " capital", " of", " France", " is"]
    assert words(tokenizer, [prompt.target_id]) == [" Paris"]


def test_a_target_of_its_own_leaves_the_prompt_whole(maker, tokenizer):
    prompt = maker.prompt("The capital of", " Paris")
    assert words(tokenizer, prompt.token_ids) == ["<bos>", "The", " capital", " of"]
    assert words(tokenizer, [prompt.target_id]) == [" Paris"]


def test_a_bos_in_the_text_is_not_doubled(maker):
    assert maker.prompt("<bos>The capital of").token_ids == maker.prompt("The capital of").token_ids


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", ""])
def test_a_newline_at_the_end_of_a_file_is_not_the_target_and_is_said(maker, tokenizer, tmp_path, end):
    (tmp_path / "france.txt").write_bytes(b"The capital of France is Paris" + end.encode())
    (prompt,) = read_prompts(tmp_path / "france.txt", maker)
    assert words(tokenizer, [prompt.target_id]) == [" Paris"]
    assert prompt.stripped_newline == bool(end)
    assert prompt.name == "france"


def test_a_newline_inside_a_text_stays(maker, tokenizer, tmp_path):
    (tmp_path / "q.txt").write_bytes(b"Q\nThe capital\n")
    (prompt,) = read_prompts(tmp_path / "q.txt", maker)
    assert words(tokenizer, prompt.token_ids) == ["<bos>", "Q", "\n", "The"]


def test_a_folder_gives_its_texts_by_name_and_nothing_else(maker, tmp_path):
    for name in ("b.txt", "a.txt", "notes.md"):
        (tmp_path / name).write_text("The capital of")
    assert [prompt.name for prompt in read_prompts(tmp_path, maker)] == ["a", "b"]


def test_a_file_of_lines_gives_a_prompt_a_line(maker, tokenizer, tmp_path):
    lines = [{"prompt": "The capital of"}, {"prompt": "The capital", "target": " of", "name": "own"}]
    (tmp_path / "p.jsonl").write_text("\n\n".join(map(json.dumps, lines)) + "\n")
    first, second = read_prompts(tmp_path / "p.jsonl", maker)
    assert (first.name, second.name) == ("p-1", "own")
    assert words(tokenizer, [first.target_id, second.target_id]) == [" of", " of"]
    assert first.token_ids == second.token_ids


def test_a_bad_prompt_does_not_hinder_those_before_it(maker, tmp_path):
    (tmp_path / "a.txt").write_text("The capital of")
    (tmp_path / "b.txt").write_text("\n")
    found = read_prompts(tmp_path, maker)
    assert next(found).name == "a"
    with pytest.raises(InputError, match=r"the prompt is empty \(b\)"):
        next(found)


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", None, "the prompt is empty"),
        (" \n", " of", "the prompt is empty"),
        ("The", None, "the prompt has 1 token before its target"),
        ("<bos>", " of", "the prompt has 1 token in all"),
        ("The the the the the the the the the", None, "the prompt has 9 tokens, the model takes 8"),
        ("The capital", "Paris", "target 'Paris' is 2 tokens, not one (prompt): the nearest is ' Paris'"),
        ("The capital", " of France", "the nearest is ' of'"),
        ("The capital", "", "the target is empty"),
        ("The capital", "paris", "target 'paris' is no token of this tokenizer (prompt): the nearest is ' Paris'"),
    ],
)
def test_what_is_no_prompt_is_one_line(maker, text, target, message):
    with pytest.raises(InputError) as caught:
        maker.prompt(text, target)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_prompt_as_long_as_the_context_is_taken(maker):
    assert len(maker.prompt("The the the the the the the the").token_ids) == 8


def test_files_that_hold_no_prompts_are_said(maker, tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        list(read_prompts(tmp_path / "none", maker))
    with pytest.raises(InputError, match=r"no \.txt files"):
        list(read_prompts(tmp_path, maker))
    path = tmp_path / "p.jsonl"
    for line in ("text", "[]", '{"text": "a"}', '{"prompt": 3}', '{"prompt": "The of", "target": 3}'):
        path.write_text(line)
        with pytest.raises(CorpusError, match=r"the line is no prompt \(p\.jsonl line 1\)"):
            list(read_prompts(path, maker))
    path.write_text('{"prompt": "The capital of", "name": "x"}\n' * 2)
    with pytest.raises(InputError, match="two prompts are called 'x'"):
        list(read_prompts(path, maker))
    path.write_bytes(b"\xff")
    with pytest.raises(CorpusError, match="UTF-8"):
        list(read_prompts(path, maker))


def test_a_bos_that_there_is_not_cannot_be_added(tokenizer):
    without = Words(tokenizer)
    without.bos_token_id = None
    with pytest.raises(InputError, match="no BOS"):
        PromptMaker(without, 8, add_bos=True)
