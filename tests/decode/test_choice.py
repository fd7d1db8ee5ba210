"""Which decoder an installation uses, and what it says about it."""

import subprocess
import sys

import pytest

from tocsin import decode
from tocsin.decode import NATIVE, decoder, reference
from tocsin.model.columns import Projection

PROJECTION = Projection(attributes={"k": 8})


@pytest.mark.skipif(not NATIVE, reason="the native decoder was not built")
def test_the_native_decoder_is_used_where_it_was_built(caplog: pytest.LogCaptureFixture) -> None:
    assert type(decoder(PROJECTION)).__module__ == "tocsin.decode.wire"
    assert not caplog.records


def test_the_reference_is_used_where_not_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decode, "NATIVE", False)
    decode._say_slow.cache_clear()
    for _ in range(3):
        assert isinstance(decoder(PROJECTION), reference.Decoder)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "slower one is in use" in caplog.text


def test_the_package_works_without_the_native_module() -> None:
    program = (
        "import sys; sys.modules['tocsin._native'] = None\n"
        "from tocsin.decode import NATIVE, decoder\n"
        "from tocsin.model.columns import Projection\n"
        "decoded = decoder(Projection(attributes={})).traces([b'\\x0a\\x00', b'\\xff'])\n"
        "assert not NATIVE and [error is None for error in decoded.errors] == [True, False]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603  # ours
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("slower one is in use") == 1
