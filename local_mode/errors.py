"""What the local SageMaker answers when it does not do what was asked."""

import errno
import sqlite3

_FULL = (errno.ENOSPC, errno.EDQUOT)


class ServiceError(Exception):
    """An error in AWS's own terms, written to the client by the protocol of the service asked.

    `code` is AWS's (`ValidationException`, `ResourceInUse`, `NoSuchKey`, ...), `status` the HTTP status.
    """

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class ValidationException(ServiceError):  # noqa: N818  AWS's own name
    """The request breaks a rule of the API, or asks for something that is not emulated here."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode in (
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_IOERR_SHMSIZE,
        ):
            return True
        error = error.__cause__ or error.__context__
    return False
