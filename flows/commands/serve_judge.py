"""``ato serve-judge``: the model of the settings as an OpenAI-compatible server on this machine, for stage ``label``."""

from ato.autointerp.judge_server import ChatModel, JudgeServer
from flows.settings import Settings
from tasks.engine.model_cache import language_model
from tasks.engine.progress import say


def serve_judge(settings: Settings, host: str, port: int, *, calibrate: bool = False) -> None:
    """Serve until Ctrl-C.

    Args:
        settings: whose model answers.
        host: address to listen at.
        port: 0 for a free one.
        calibrate: take from each choice what the model says to a prompt without content.

    Raises:
        ModelError: the model cannot be loaded.
        UnavailableError: the port is taken.
    """
    chat = ChatModel(language_model(settings.model), calibrate=calibrate)
    server = JudgeServer(chat, host, port)
    say("judge", f"{chat.name} answers at {server.url}; elsewhere run:")
    say("judge", f"ato run label --set label.judge=chat --set label.chat.base_url={server.url} {_model(chat.name)}")
    server.serve()


def _model(name: str) -> str:
    return f"--set label.chat.model={name}"
