"""The address of a store, taken apart; without boto3, for every process reads settings."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_SCHEMES = {"s3": "https", "s3+http": "http"}


def options(url: str, folder: str) -> dict[str, Any]:
    """What `buckets.Bucket` has to know, out of one address: `s3://KEY:SECRET@HOST/BUCKET[/PREFIX]`.

    `?region=` names the region. Without key and secret, boto3 looks where it always looks.
    `s3+http` is for a store on this machine: nothing is encrypted on the way.

    Raises:
        ImproperlyConfigured: it is no such address.
    """
    parts = urlsplit(url)
    bucket, _, prefix = parts.path.strip("/").partition("/")
    if parts.scheme not in _SCHEMES or not parts.hostname or not bucket:
        message = "LANDSCAPE_STORE_URL has to be s3://KEY:SECRET@HOST/BUCKET?region=REGION"
        raise ImproperlyConfigured(message)
    port = f":{parts.port}" if parts.port else ""
    return {
        "access_key": unquote(parts.username) if parts.username else None,
        "secret_key": unquote(parts.password) if parts.password else None,
        "endpoint_url": f"{_SCHEMES[parts.scheme]}://{parts.hostname}{port}",
        "region_name": parse_qs(parts.query).get("region", ["us-east-1"])[0],
        "bucket_name": bucket,
        "location": "/".join(filter(None, [prefix, folder])),
    }
