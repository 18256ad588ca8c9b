"""A real S3 server for tests: SeaweedFS, on this machine and with a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.running import free_port

KEY, SECRET, BUCKET = "landscape", "not so secret", "kept"


@contextmanager
def running(folder: Path):
    """Start it, make a bucket, and give the address for LANDSCAPE_STORE_URL."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "s3.json"
    person = {
        "name": "landscape",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [person]}))
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    command = [str(Path(sys.executable).with_name("weed")), "-logtostderr", "server"]
    command += ["-s3", f"-s3.config={config}", f"-dir={folder}", "-ip=127.0.0.1"]
    command += ["-ip.bind=127.0.0.1", "-volume.max=8", "-master.volumeSizeLimitMB=64"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += [f"-{name}.port.grpc={free_port()}" for name in ports]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env=dict(os.environ, HOME=str(folder))
        )
    try:
        address = f"127.0.0.1:{ports['s3']}"
        client = boto3.client(
            "s3",
            endpoint_url=f"http://{address}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(signature_version="s3v4", retries={"max_attempts": 0}),
        )
        _make_bucket(client, server, folder / "log")
        yield f"s3+http://{KEY}:{SECRET.replace(' ', '%20')}@{address}/{BUCKET}/house"
    finally:
        server.kill()
        server.wait()


def _make_bucket(client, server, log):
    deadline = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            # Volumes are there a moment later.
            client.put_object(Bucket=BUCKET, Key="hello", Body=b"hello")
        except (BotoCoreError, ClientError):
            said = log.read_text(errors="replace")[-2000:]
            assert server.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        else:
            return
