"""The log of a training job, as it grows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import botocore.exceptions

LOG_GROUP = "/aws/sagemaker/TrainingJobs"

_HOST = re.compile(r"algo-[0-9]+")
# What moves the cursor or rings the bell has no place in a log: it would overwrite what others wrote.
_CONTROL = {code: None for code in (*range(32), 127, *range(128, 160)) if code != ord("\t")}
_ESCAPE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of one host."""

    host: str  # `algo-1`
    text: str


class LogTail:
    """Reads each event of all of a job's streams once."""

    def __init__(self, logs: Any, job_name: str) -> None:
        self._logs = logs
        self._prefix = f"{job_name}/"
        self._tokens: dict[str, str | None] = {}  # stream -> where to read on

    def new_lines(self) -> Iterator[LogLine]:
        """What was written since the last call; stream by stream, each in its order."""
        for stream in self._streams():
            host = _HOST.search(stream.removeprefix(self._prefix))
            for message in self._new_messages(stream):
                for text in message.splitlines() or [""]:
                    yield LogLine(host=host[0] if host else stream, text=_printable(text))

    def _streams(self) -> list[str]:
        pages = self._logs.get_paginator("describe_log_streams").paginate(
            logGroupName=LOG_GROUP, logStreamNamePrefix=self._prefix
        )
        try:
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except botocore.exceptions.ClientError as error:
            # Neither the group nor a stream is there before the first host has started.
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return []
            raise

    def _new_messages(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream)
            page = self._logs.get_log_events(
                logGroupName=LOG_GROUP,
                logStreamName=stream,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
            self._tokens[stream] = page["nextForwardToken"]
            for event in page["events"]:
                yield event["message"]
            # The end has been reached when the token stays the same; a page may be empty before it.
            if page["nextForwardToken"] == token or (token is None and not page["events"]):
                return


def _printable(text: str) -> str:
    return _ESCAPE.sub("", text).translate(_CONTROL)
