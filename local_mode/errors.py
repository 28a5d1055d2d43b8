"""What the local SageMaker answers when it does not do what was asked."""


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
