"""One seal, one bag: whoever makes it, wherever, and how often."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import connections

from tests.builders import make_world
from tests.exports import forging
from tests.tampering import Tamperer

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import json, os, sys, time
from datetime import UTC, datetime
from pathlib import Path
import django
zone = os.environ["TZ"]
django.setup()
os.environ["TZ"] = zone  # Django had put its own there
time.tzset()
from django.db import connections
told = json.loads(sys.stdin.read())
connections["default"].settings_dict.update(told["database"])
from audit import exports
at = datetime.fromtimestamp(1_800_000_000, UTC)
found = exports.export_run(
    run_id=told["run"], folder=Path(told["folder"]), at=at, csv=True, with_payloads=True,
    zipped=told["zipped"],
)
print(found.manifest_sha256, found.checkpoint.root.hex(), time.tzname[0])
"""
VARIATIONS = [
    ("0", "UTC", "C"),
    ("1", "Asia/Kathmandu", "C.UTF-8"),
    ("2", "America/St_Johns", "POSIX"),
    ("3", "Pacific/Apia", "C.UTF-8"),
    ("77", "Europe/Berlin", "C"),
    ("123456", "Antarctica/Troll", "C.UTF-8"),
]


@pytest.mark.django_db(databases=["default", "owner"], transaction=True)
def test_seal_and_bag_do_not_depend_on_the_process_that_makes_them(tmp_path):
    world = make_world(rows=3)
    tell = connections["default"].settings_dict
    database = {name: tell[name] for name in ("NAME", "HOST", "PORT", "USER", "PASSWORD")}
    found, zones = set(), set()

    for number, (seed, zone, locale) in enumerate(VARIATIONS):
        told = {
            "run": world.run.run_id,
            "folder": str(tmp_path / str(number)),
            "zipped": bool(number % 2),
            "database": database,
        }
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=json.dumps(told),
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            env={
                "PATH": os.environ["PATH"],
                "DJANGO_SETTINGS_MODULE": "landscape_site.settings",
                "LANDSCAPE_VAR": str(tmp_path / f"var{number}"),
                "LANDSCAPE_AUTHORITY": forging.NAME,
                "LANDSCAPE_SIGNING_KEY": base64.b64encode(forging.SEED).decode(),
                "PYTHONHASHSEED": seed,
                "TZ": zone,
                "LC_ALL": locale,
            },
        )
        assert done.returncode == 0, done.stderr
        manifest, root, name = done.stdout.split()
        found.add((manifest, root))
        zones.add(name)
        # As if it had never been sealed.
        Tamperer()("DELETE FROM seal_log", "DELETE FROM seals")

    assert len(found) == 1
    assert len(zones) == len(VARIATIONS)
