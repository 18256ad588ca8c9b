"""An S3-compatible store in place of the disk, with a real server: nothing else changes."""

from __future__ import annotations

import hashlib
import io
import os

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.urls import reverse

from audit import exports, payloads
from audit.exports import jobs
from audit.models import Export
from audit.vocabulary import ExportJobStatus as Status
from landscape_site import addresses, buckets
from tests import s3server
from tests.builders import NOON, make_world
from tests.exports.conftest import bare

KEPT = ("payloads", "seals", "exports")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with s3server.running(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture
def bucket(url, monkeypatch):
    monkeypatch.setattr(buckets, "_PART", 5 << 20)
    return buckets.Bucket(**addresses.options(url, "exports"))


@pytest.fixture
def house(url, settings, tmp_path):
    """A Landscape whose files are in the store."""
    settings.LANDSCAPE_VAR = tmp_path / "var"
    settings.SIGNING_KEY_FILE = tmp_path / "var" / "secrets" / "signing_key.pem"
    settings.LANDSCAPE_EXPORT_LEASE = 1.5
    backend = "landscape_site.buckets.Bucket"
    settings.STORAGES = settings.STORAGES | {
        name: {"BACKEND": backend, "OPTIONS": addresses.options(url, name)} for name in KEPT
    }
    return settings


class TestAddress:
    def test_holds_everything(self):
        found = addresses.options("s3://a%2Fb:c%40d@s3.example:9000/b/p/q?region=eu-1", "seals")

        assert found == {
            "access_key": "a/b",
            "secret_key": "c@d",
            "endpoint_url": "https://s3.example:9000",
            "region_name": "eu-1",
            "bucket_name": "b",
            "location": "p/q/seals",
        }
        bare = addresses.options("s3+http://localhost/b", "seals")
        assert (bare["access_key"], bare["endpoint_url"], bare["location"]) == (
            None,
            "http://localhost",
            "seals",
        )

    @pytest.mark.parametrize("url", ["http://a/b", "s3://host", "s3:///b", "nonsense"])
    def test_is_refused_when_it_is_none(self, url):
        with pytest.raises(ImproperlyConfigured, match="s3://KEY:SECRET@HOST/BUCKET"):
            addresses.options(url, "seals")


class TestFiles:
    def test_go_up_in_parts_and_come_back_from_anywhere(self, bucket):
        content = os.urandom((11 << 20) + 7)

        assert bucket.save("aa/big", ContentFile(content)) == "aa/big"

        assert (bucket.exists("aa/big"), bucket.size("aa/big")) == (True, len(content))
        assert bucket.listdir("aa") == ([], ["big"])
        with bucket.open("aa/big") as file:
            file.seek(-5, io.SEEK_END)
            assert file.read() == content[-5:]
            file.seek(6 << 20)
            assert file.read(9) == content[6 << 20 : (6 << 20) + 9]
            file.seek(0)
            assert file.read() == content
            assert file.read() == b""
        bucket.delete("aa/big")
        bucket.delete("aa/big")
        assert not bucket.exists("aa/big")

    def test_that_are_not_there_are_missed_as_on_a_disk(self, bucket):
        for ask in (bucket.open, bucket.size):
            with pytest.raises(FileNotFoundError):
                ask("none")

    def test_have_no_public_address(self, bucket):
        with pytest.raises(ValueError, match="no address"):
            bucket.url("aa/big")

    def test_half_of_which_came_are_absent_and_swept(self, bucket, monkeypatch):
        client = bucket.connection.meta.client
        key = f"{bucket.location}/half"
        begun = client.create_multipart_upload(Bucket=bucket.bucket_name, Key=key)
        client.upload_part(
            Bucket=bucket.bucket_name, Key=key, PartNumber=1, UploadId=begun["UploadId"], Body=b"h"
        )

        assert not bucket.exists("half")
        assert bucket.tidy() == 0
        monkeypatch.setattr(buckets, "_FORGOTTEN", -buckets._FORGOTTEN)
        assert bucket.tidy() == 1
        assert bucket.tidy() == 0

    def test_in_a_store_that_is_not_there_are_told_as_a_fault_of_a_disk(self):
        nowhere = buckets.Bucket(**addresses.options("s3+http://k:s@127.0.0.1:1/b", "seals"))

        for fails in (lambda: nowhere.save("x", ContentFile(b"1")), lambda: nowhere.open("x")):
            with pytest.raises(buckets.StoreUnavailable, match=r"127\.0\.0\.1:1"):
                fails()


@pytest.mark.django_db(transaction=True)
class TestHouse:
    def test_seals_exports_and_gives_parts_of_a_file(self, house, client, tmp_path, person):
        ref = payloads.store(b"a payload")
        assert payloads.read(ref) == b"a payload"
        world = make_world(rows=3)
        exporter = person("exporter")
        job = exports.open_job(
            run_id=world.run.run_id,
            requested_by=exporter.pk,
            with_csv=True,
            with_payloads=False,
            at=NOON,
        )

        exports.produce(export_id=job.pk, owner="w")

        job.refresh_from_db()
        assert job.status == Status.SUCCEEDED, job.error_text
        assert not [path for path in house.LANDSCAPE_VAR.rglob("*.zip") if path.is_file()]
        client.force_login(exporter)
        address = f"{reverse('audit:export', args=[job.pk])}download/"
        whole = client.get(address).getvalue()
        part = client.get(address, headers={"Range": "bytes=10-19"})
        assert hashlib.sha256(whole).hexdigest() == job.file_sha256
        assert (part.status_code, part.getvalue()) == (206, whole[10:20])
        bag = tmp_path / "bag.zip"
        bag.write_bytes(whole)
        assert bare(bag)["status"] == 2  # whole, and no key is given

        Export.objects.filter(pk=job.pk).update(status=Status.EXPIRED)
        assert exports.tidy() == 1
        assert storages["exports"].listdir("")[1] == []

    def test_says_that_the_store_is_gone_and_tries_again(self, house, monkeypatch):
        world = make_world(rows=1)
        job = exports.open_job(
            run_id=world.run.run_id,
            requested_by=1,
            with_csv=False,
            with_payloads=False,
            at=NOON,
        )
        there = house.STORAGES
        nowhere = addresses.options("s3+http://k:s@127.0.0.1:1/b", "exports")
        house.STORAGES = there | {"exports": there["exports"] | {"OPTIONS": nowhere}}
        monkeypatch.setattr(jobs, "_FIRST_PAUSE", 0.0)

        exports.produce(export_id=job.pk, owner="w")

        job.refresh_from_db()
        assert (job.status, job.error_code) == (Status.WAITING, "failed")
        assert "127.0.0.1:1" in job.error_text
        house.STORAGES = there
        exports.produce(export_id=job.pk, owner="w")
        job.refresh_from_db()
        assert job.status == Status.SUCCEEDED
