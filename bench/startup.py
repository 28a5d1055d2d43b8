"""What the entry point adds to a job's start: over our own program, and over a user's script.

    python bench/startup.py [--runs 10]

Pairs of runs, one after the other, so that a machine that slows down slows both: our program started
directly and through the entry point (both end at a hyperparameter that is refused, right after their
imports), and a script that does nothing, started directly and through entry point and toolkit.
Prints medians in seconds; exits 1 where a limit is passed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from drydock.contract import Tree

PROGRAM_LIMIT_SECONDS = 0.3
SCRIPT_LIMIT_SECONDS = 2.0
ENTRY_POINT = [sys.executable, "-m", "drydock.training.entrypoint", "train"]


def make_tree(base: Path, hyperparameters: dict[str, str]) -> Tree:
    """A tree as the platform makes it, with one empty channel."""
    tree = Tree(base=base)
    for folder in (tree.config, tree.channel("train"), tree.model, tree.output_data, tree.code):
        folder.mkdir(parents=True)
    tree.hyperparameters_file.write_text(json.dumps(hyperparameters))
    tree.input_data_config_file.write_text('{"train": {"TrainingInputMode": "File"}}')
    tree.resource_config_file.write_text('{"current_host": "algo-1", "hosts": ["algo-1"]}')
    return tree


def seconds(command: list[str], tree: Tree) -> float:
    """Wall time of one run of `command`, in seconds."""
    environment = {
        **os.environ,
        "SAGEMAKER_BASE_DIR": str(tree.base),
        "SM_STUDIO_LOCAL_MODE": "true",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    start = time.perf_counter()
    subprocess.run(command, env=environment, capture_output=True, check=False)
    return time.perf_counter() - start


def compare(name: str, direct: list[str], *, tree: Tree, runs: int, limit: float) -> bool:
    """Print medians of `runs` pairs; true when the median difference keeps to `limit` seconds."""
    pairs = [(seconds(direct, tree), seconds(ENTRY_POINT, tree)) for _ in range(runs + 1)][
        1:
    ]  # the first warms up
    added = statistics.median(through - alone for alone, through in pairs)
    print(
        f"{name}: directly {statistics.median(a for a, _ in pairs):.3f} s, through the entry point "
        f"{statistics.median(b for _, b in pairs):.3f} s, added {added:.3f} s (limit {limit} s, {runs} pairs)"
    )
    return added <= limit


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10, help="pairs of runs of each comparison")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        refused = make_tree(Path(folder) / "program", {"lr": "refused"})
        script = make_tree(Path(folder) / "script", {"sagemaker_program": "nothing.py"})
        (script.code / "nothing.py").write_text("")
        program = [sys.executable, "-m", "drydock.training"]
        alone = [sys.executable, str(script.code / "nothing.py")]
        kept = [
            compare("our program", program, tree=refused, runs=runs, limit=PROGRAM_LIMIT_SECONDS),
            compare("a user's script", alone, tree=script, runs=runs, limit=SCRIPT_LIMIT_SECONDS),
        ]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
