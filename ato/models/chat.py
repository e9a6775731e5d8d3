"""Conversations as text, in the form that a chat model was trained on: its tokenizer's chat template."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ato.errors import CorpusError, SettingsError
from ato.models.tokenizer import load_tokenizer


@dataclass(frozen=True)
class ChatTemplate:
    """Writes conversations as a model's template has them, a BOS included where the template writes one.

    The tokenizer is loaded when the first conversation comes, without the weights.
    """

    model: str
    """Name, as settings give it."""
    revision: str | None = None
    trust_remote_code: bool = False

    def __call__(self, messages: list[dict[str, Any]]) -> str:
        """The text of a conversation, whole: no answer is begun at its end.

        Args:
            messages: each with role and content.

        Raises:
            SettingsError: the model has no chat template.
            CorpusError: its template refuses the conversation (roles out of turn, unknown ones).
        """
        return conversation_text(_tokenizer(self), self.model, messages)


def conversation_text(tokenizer: Any, model: str, messages: list[dict[str, Any]], *, answer_begun: bool = False) -> str:
    """The text of a conversation by a tokenizer that is there; arguments and errors as those of ``ChatTemplate``.

    With ``answer_begun`` it ends where the model's answer begins.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise SettingsError(
            "conversations need a chat template, and the model has none",
            where=f"model.name={model}",
            cure="choose a chat model, or a field of plain text in collect.text_field",
        )
    # Readers of columns give what a message lacks as NULL, which a template takes for something that is there.
    told = [{name: value for name, value in message.items() if value is not None} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=answer_begun))
    except Exception as error:  # whatever the template's program raises
        reason = " ".join(str(error).split())
        cure = "mend the conversation, or choose a model whose template takes it"
        raise CorpusError(f"the chat template of {model} refuses a conversation: {reason}", cure=cure) from None


@lru_cache(maxsize=2)
def _tokenizer(chat: ChatTemplate) -> Any:
    return load_tokenizer(chat.model, revision=chat.revision, trust_remote_code=chat.trust_remote_code)
