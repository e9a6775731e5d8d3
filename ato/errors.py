"""The error tree: every failure a user can cause or meet, each a sentence with what, where and the cure.

AtoError
├── InputError               the request cannot be carried out as it was made
│   ├── SettingsError        a setting is unknown, of the wrong type or contradicts another
│   ├── ModelError           unknown model, unsupported family, failed self-check
│   ├── LayerError           a layer beyond the model, a leap past the last layer
│   ├── CorpusError          missing, empty, not UTF-8, fewer documents than folds
│   ├── SAEError             missing or unreadable SAE, wrong width or site
│   └── MismatchError        an artefact of another model, collection or tokenizer
├── DataError                stored or computed data that must not be used
│   ├── NonFiniteError       NaN or infinity where a finite number was expected
│   ├── DamagedFileError     truncated or altered file
│   ├── SchemaVersionError   a warehouse written with another schema
│   └── QualityError         a data-quality expectation failed
└── UnavailableError         something outside is missing: package, network
    ├── UnreachableError     nobody answers at a server's address
    ├── RefusedError         a server refuses the request
    └── DiskFullError        no space left to write
"""

from errno import EACCES, EDQUOT, EEXIST, ENOENT, ENOSPC, EPERM, EROFS


class AtoError(Exception):
    """Base of all errors with a message for the user: ``what (where): cure``, on one line.

    Args:
        what: what went wrong, a clause without a full stop.
        where: file, layer, table, document or setting concerned.
        cure: what the user can do about it.
    """

    def __init__(self, what: str, *, where: object = None, cure: str | None = None):
        self.what, self.where, self.cure = what, where, cure
        text = what if where is None else f"{what} ({where})"
        text = text if cure is None else f"{text}: {cure}"
        super().__init__(" ".join(text.split()))


class InputError(AtoError):
    """The request cannot be carried out as it was made."""


class SettingsError(InputError):
    """A setting is unknown, of the wrong type or contradicts another."""


class ModelError(InputError):
    """Unknown model, unsupported family or failed self-check."""


class LayerError(InputError):
    """A layer beyond the model or a leap past its last layer."""


class CorpusError(InputError):
    """A corpus that is missing, empty, not UTF-8 or has fewer documents than folds."""


class SAEError(InputError):
    """A missing or unreadable SAE, or one of the wrong width or site."""


class MismatchError(InputError):
    """An artefact that belongs to another model, collection or tokenizer."""


class DataError(AtoError):
    """Stored or computed data that must not be used."""


class NonFiniteError(DataError):
    """NaN or infinity where a finite number was expected."""


class DamagedFileError(DataError):
    """A truncated or altered file."""


class SchemaVersionError(DataError):
    """A warehouse written with another schema version."""


class QualityError(DataError):
    """A data-quality expectation failed."""


class UnavailableError(AtoError):
    """Something outside is missing: a package, the network."""


class UnreachableError(UnavailableError):
    """Nobody answers at a server's address."""


class RefusedError(UnavailableError):
    """A server refuses the request; ``status`` is that of HTTP, ``said`` the server's own words, if any."""

    status: int = 0
    said: str = ""


class DiskFullError(UnavailableError):
    """No space left to write."""


def file_error(error: OSError, path: object = None) -> UnavailableError:
    """What the system says of a file that it refuses, as an error for the user.

    Args:
        error: of the system.
        path: of the file, where the error does not name it.
    """
    cure = _FILE_CURES.get(error.errno or 0, "name another file or folder")
    kind = DiskFullError if error.errno in (ENOSPC, EDQUOT) else UnavailableError
    return kind((error.strerror or str(error)).lower(), where=error.filename or path, cure=cure)


_FILE_CURES = {
    ENOENT: "name a file or folder that there is",
    EEXIST: "name a new file or folder",
    EACCES: "name a file or folder of your own",
    EPERM: "name a file or folder of your own",
    EROFS: "name a file or folder of your own, on a disk that can be written",
    ENOSPC: "free some space, or name a folder on a larger disk",
    EDQUOT: "free some space, or name a folder on a larger disk",
}


def first_line(error: Exception) -> str:
    """First line of what another library says of its error, at most 300 characters; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
