"""Servers that speak the protocols of object storage, each with the settings by which the clouds' own clients find it."""

import base64
import hashlib
import hmac
import signal
import socket
from email.utils import formatdate
from pathlib import Path
from urllib.request import Request, urlopen

from ingest.demo.kept_server import HOST, KeptServer
from tests.fetched import program
from tests.node_packages import installed

PACKAGES = Path(__file__).parent / "object_stores"
BUCKET = "archives"
# The one account that Azurite has, by its documentation.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class S3(KeptServer):
    """The protocol of S3, by s3rver, which lets in whom it knows by the access key; it has the bucket."""

    name = "s3rver"
    scheme = "s3"
    key_setting = "AWS_ACCESS_KEY_ID"
    stop_signal = signal.SIGTERM

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "S3RVER",
            "AWS_SECRET_ACCESS_KEY": "S3RVER",
        }

    def make_bucket(self) -> None:
        """It was given on the command line."""

    def _command(self, folder: Path) -> list[str]:
        s3rver = str(installed(PACKAGES) / "node_modules" / ".bin" / "s3rver")
        where = ["--address", HOST, "--port", str(self.port), "--directory", str(folder / "data")]
        return [program("node"), s3rver, *where, "--configure-bucket", BUCKET]

    def _is_ready(self, folder: Path) -> bool:
        return _listens(self.port)


class Azure(KeptServer):
    """The protocol of Azure Blob Storage, signatures checked, by Azurite."""

    name = "azurite"
    scheme = "az"
    key_setting = "AZURE_STORAGE_ACCOUNT_KEY"
    stop_signal = signal.SIGTERM

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AZURE_STORAGE_ENDPOINT": f"http://{HOST}:{self.port}/{_ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
        }

    def make_bucket(self) -> None:
        """What the library cannot do: PUT a container, signed with the account's shared key."""
        date, version = formatdate(usegmt=True), "2023-11-03"
        asked = f"x-ms-date:{date}\nx-ms-version:{version}\n/{_ACCOUNT}/{_ACCOUNT}/{BUCKET}\nrestype:container"
        signed = hmac.digest(base64.b64decode(_KEY), ("PUT" + "\n" * 12 + asked).encode(), hashlib.sha256)
        authorization = f"SharedKey {_ACCOUNT}:{base64.b64encode(signed).decode()}"
        headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": authorization, "Content-Length": "0"}
        url = f"http://{HOST}:{self.port}/{_ACCOUNT}/{BUCKET}?restype=container"
        with urlopen(Request(url, method="PUT", headers=headers), timeout=10) as answer:
            assert answer.status == 201

    def _command(self, folder: Path) -> list[str]:
        azurite = str(installed(PACKAGES) / "node_modules" / ".bin" / "azurite-blob")
        where = ["--blobHost", HOST, "--blobPort", str(self.port), "--location", str(folder / "data")]
        # Its clients are newer than it is.
        return [program("node"), azurite, *where, "--skipApiVersionCheck", "--disableTelemetry"]

    def _is_ready(self, folder: Path) -> bool:
        return _listens(self.port)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
