"""Tiny images that know nothing of Drydock, made by the tests themselves: no registry is asked."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engines.harness import LocalSageMaker

# The first of these that is here has a shell and perl; CI has the second at least.
BASES = ("drydock-base:bookworm", "drydock-train:latest", "debian:bookworm-slim")


class Images:
    """Builds images and removes them at the end."""

    def __init__(self, client: Any, workspace: Path) -> None:
        self._client = client
        self._workspace = workspace
        self._built: list[str] = []

    @property
    def base(self) -> str:
        base = next((name for name in BASES if self._client.images.list(name)), None)
        assert base is not None, f"no image to build on: {', '.join(BASES)}; make base"
        return base

    def build(self, name: str, files: Mapping[str, bytes], *instructions: str) -> str:
        """An image of the Dockerfile's instructions, FROM first.

        `files` lie beside it; those that are named `data` may only be read, the others executed too.
        """
        tag = f"drydock-test-{os.getpid()}-{name}:1"
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as archive:
            for path, content in {**files, "Dockerfile": "\n".join(instructions).encode()}.items():
                info = tarfile.TarInfo(path)
                info.size, info.mode = len(content), 0o644 if path == "data" else 0o755
                archive.addfile(info, io.BytesIO(content))
        context.seek(0)
        self._client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
        self._built.append(tag)
        return tag

    def script(self, name: str, script: str, *instructions: str) -> str:
        """An image whose `train` is a script for `sh`, or for what its own first line names."""
        text = script if script.startswith("#!") else f"#!/bin/sh\n{script}"
        return self.build(
            name,
            {"train": text.encode()},
            f"FROM {self.base}",
            "COPY train /usr/local/bin/train",
            *instructions,
        )

    def static(self, source: str) -> bytes:
        """A program in C that needs nothing of its image."""
        compiler = shutil.which("gcc")
        if compiler is None:
            pytest.skip("no gcc to make a program for an empty image")
        program = self._workspace / "static"
        command = [compiler, "-static", "-O1", "-x", "c", "-", "-o", str(program)]
        subprocess.run(command, input=source, text=True, check=True, capture_output=True)
        return program.read_bytes()

    def busybox(self) -> bytes:
        """A static busybox, as Alpine Linux is made of: this machine's, else its distribution's package."""
        found = next(filter(None, map(shutil.which, ("busybox-static", "busybox"))), None)
        if found is not None and b"ld-linux" not in (content := Path(found).read_bytes()):
            return content
        try:
            fetch = ["apt-get", "-qq", "download", "busybox-static"]
            subprocess.run(fetch, cwd=self._workspace, check=True, capture_output=True, timeout=60)
            (package,) = self._workspace.glob("busybox-static*.deb")
            subprocess.run(
                ["dpkg-deb", "--extract", package, self._workspace], check=True, capture_output=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"no static busybox on this machine, and none to be had by apt-get: {error}")
        return next(self._workspace.glob("**/bin/busybox")).read_bytes()

    def remove(self) -> None:
        for tag in self._built:
            self._client.images.remove(tag, force=True)


def request_for(service: LocalSageMaker, name: str, image: str, **changes: Any) -> dict[str, Any]:
    """A CreateTrainingJob request for an image; `Algorithm` adds to its AlgorithmSpecification."""
    algorithm = {"TrainingImage": image, "TrainingInputMode": "File", **changes.pop("Algorithm", {})}
    return service.request(name, AlgorithmSpecification=algorithm, **changes)
