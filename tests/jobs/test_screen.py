"""What a terminal shows while a job runs."""

import io

from rich.console import Console

from jobs.logs import LogLine
from jobs.screen import screen


def line(text: str) -> LogLine:
    return LogLine(host="algo-1", text=text)


def test_a_terminal_shows_log_and_progress() -> None:
    """Log lines stand as they are, markup and all; below them status, bar and epochs within 80 columns."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, highlight=False, color_system=None)
    with screen(console) as shown:
        description = {
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Training",
            "SecondaryStatusTransitions": [
                {"Status": "Training", "StatusMessage": "Training image download completed. " * 3}
            ],
            "HyperParameters": {"epochs": "4"},
        }
        shown.status(description)
        shown.log(line("Epoch 2: [bold]step[/bold] 3 of 9 " + "x" * 100))
        shown.log(line("Epoch 3: step 3 of 9 (33 %)"))
        shown.log(line("Best epoch 1: Validation set: Average loss: 1.0"))
        shown.note("Stopping")
    text = output.getvalue()
    assert "Epoch 2: [bold]step[/bold] 3 of 9 " + "x" * 100 + "\n" in text
    assert "Stopping\n" in text
    assert "epoch 3 of 4" in text
    bar = [shown for shown in text.splitlines() if "━" in shown][-1]
    assert "Training" in bar
    assert "0:00:0" in bar


def test_a_pipe_gets_plain_lines() -> None:
    """Where there is no terminal nothing moves the cursor."""
    output = io.StringIO()
    with screen(Console(file=output)) as shown:
        assert type(shown).__name__ == "PlainScreen"
    assert output.getvalue() == ""
