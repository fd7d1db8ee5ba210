"""Certificates made on the spot, by the openssl program."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Authority", "Files"]

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@dataclass(frozen=True)
class Files:
    """A certificate and its key, in PEM."""

    cert: Path
    key: Path

    def replace(self, other: "Files") -> None:
        """Put another certificate in this one's place, as certbot and the kubelet do: by renaming."""
        for mine, its in ((self.cert, other.cert), (self.key, other.key)):
            fresh = mine.with_suffix(".new")
            fresh.write_bytes(its.read_bytes())
            fresh.replace(mine)


class Authority:
    """An authority with a root certificate of its own."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self._root = Files(directory / f"{name}.pem", directory / f"{name}.key")
        self._name = name
        root = ["-keyout", str(self._root.key), "-out", str(self._root.cert), "-subj", f"/CN={name}"]
        _openssl("req", "-x509", *_KEY, *root, "-days", "2", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    @property
    def ca_file(self) -> Path:
        """Its root."""
        return self._root.cert

    def issue(self, name: str, *, days: int = 1) -> Files:
        """Return a certificate for 127.0.0.1 and localhost; of negative `days` it is expired."""
        made = Files(self._directory / f"{self._name}-{name}.pem", self._directory / f"{self._name}-{name}.key")
        request = self._directory / f"{name}.csr"
        extensions = self._directory / f"{name}.cnf"
        extensions.write_text(
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n"
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl("req", *_KEY, "-keyout", str(made.key), "-out", str(request), "-subj", f"/CN={name}")
        signing = ["-CA", str(self._root.cert), "-CAkey", str(self._root.key), "-CAcreateserial"]
        ours = ["-extfile", str(extensions), "-days", str(days), "-out", str(made.cert)]
        _openssl("x509", "-req", "-in", str(request), *signing, *ours)
        made.key.chmod(0o600)
        return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)  # noqa: S603, S607  # ours
