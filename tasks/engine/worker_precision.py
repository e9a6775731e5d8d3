"""Results are keyed by the precision that ``auto`` means: a worker whose processor chooses another makes other keys."""

from ato.errors import SettingsError


def check_worker_precision(here: object, expected: object, *, does: str, setting: str = "", cure: str = "") -> None:
    """Refuse to work in another precision than the flow process has made keys with.

    Args:
        here: dtype that this worker chooses, or its name.
        expected: that of the flow process.
        does: what would be done in it, for the message.
        setting: that is ``auto``, if there is one.
        cure: default: to set it to what is expected.

    Raises:
        SettingsError: they differ.
    """
    chosen, wanted = (str(dtype).removeprefix("torch.") for dtype in (here, expected))
    if chosen != wanted:
        raise SettingsError(
            f"this worker would {does} in {chosen}, the flow process in {wanted}",
            where=f"{setting}=auto" if setting else None,
            cure=cure or f"--set {setting}={wanted}",
        )
