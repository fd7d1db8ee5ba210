"""Until when a certificate is valid, read from its DER: Python's ssl tells that of a peer's certificates only.

Source: RFC 5280, 4.1: Certificate, TBSCertificate and Validity.
"""

import ssl
from datetime import UTC, datetime
from typing import Final

__all__ = ["not_after"]

_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_END: Final = "-----END CERTIFICATE-----"
_LONG_FORM: Final = 0x80


def not_after(pem: bytes) -> float:
    """Return the end of the validity of the first certificate in `pem`, Unix seconds.

    Raises:
        ValueError: there is none, or it can't be read.
    """
    try:
        text = pem.decode("ascii")
        begin = text.index("-----BEGIN CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(text[begin : text.index(_END, begin) + len(_END)])
        _, at, _ = _value(der, 0)  # Certificate
        _, at, _ = _value(der, at)  # TBSCertificate
        if der[at] == _VERSION:
            at = _value(der, at)[2]
        for _ in ("serialNumber", "signature", "issuer"):
            at = _value(der, at)[2]
        _, at, _ = _value(der, at)  # Validity
        at = _value(der, at)[2]  # notBefore
        tag, begin, end = _value(der, at)
        return _moment(tag, der[begin:end].decode("ascii"))
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise ValueError("no certificate in PEM") from error


def _value(der: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the value at `at`, where its content begins, and where it ends."""
    tag, length, begin = der[at], der[at + 1], at + 2
    if length & _LONG_FORM:
        size = length & ~_LONG_FORM
        length = int.from_bytes(der[begin : begin + size], "big")
        begin += size
    return tag, begin, begin + length


def _moment(tag: int, text: str) -> float:
    if tag == _UTC_TIME:  # two digits of the year: up to 49 they are of this century
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
