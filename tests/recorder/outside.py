"""Programs outside this project: their own folder, environment and installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

from django.db import connections

ROOT = Path(__file__).resolve().parents[2]


def install(target: Path) -> Path:
    """What `pip install /path/to/landscape` gives, into a folder."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-index", "--no-build-isolation", "--target", target, ROOT),
        ],
        check=True,
        cwd=target.parent,
    )
    return target


def address(**changes: str) -> str:
    """The test database as a pipeline author writes it."""
    here = connections["default"].settings_dict | changes
    login = f"{quote(here['USER'])}:{quote(here['PASSWORD'], safe='')}"
    place = urlencode(
        {"host": here["HOST"], "port": here["PORT"]} if here["PORT"] else {"host": here["HOST"]}
    )
    return f"postgresql://{login}@/{quote(here['NAME'])}?{place}"


class Outside:
    """A folder with an installed recorder, in which programs run."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.package = package
        self.folder = folder
        self.payloads = folder / "payloads"

    def start(self, program: str, **environment: str) -> subprocess.Popen[str]:
        script = self.folder / "pipeline.py"
        script.write_text(program)
        return subprocess.Popen(
            [sys.executable, script],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(self.package),
                "LANDSCAPE_DATABASE_URL": address(),
                "LANDSCAPE_PAYLOADS": str(self.payloads),
            }
            | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, program: str, **environment: str) -> str:
        """Everything that a program says; it must end well."""
        process = self.start(program, **environment)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said
