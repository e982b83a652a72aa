"""Certificates for tests, made by openssl: an authority, and servers and clients that it vouches for."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

DAYS = "2"
EXTENSIONS = """
basicConstraints=critical,CA:FALSE
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth,clientAuth
subjectAltName={names}
"""


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its key, in PEM; `both` has one after the other, key first, as Kafka wants them."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """One that signs. Raises NoOpensslError where openssl is missing."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            raise NoOpensslError("openssl is not installed")
        self._folder, self._name = folder, name
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        self._openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS, "-subj", f"/CN={name}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", str(self._key), "-out", str(self.certificate),
        )  # fmt: skip

    def sign(self, name: str, names: str = "IP:127.0.0.1,DNS:localhost") -> Signed:
        """A certificate for somebody who answers to these names."""
        made = Signed(*(self._folder / f"{self._name}-{name}.{end}" for end in ("pem", "key", "both.pem")))
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(EXTENSIONS.format(names=names))
        self._openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", str(made.key), "-out", str(request),
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-days", DAYS, "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self._key),
            "-CAcreateserial", "-extfile", str(extensions), "-out", str(made.certificate),
        )  # fmt: skip
        made.both.write_text(made.key.read_text() + made.certificate.read_text())
        return made

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


class NoOpensslError(Exception):
    """There is no openssl on this machine."""
