"""The bundled day of traffic and its rules; `traffic.py` makes the one, and says what happens in it."""

from pathlib import Path

__all__ = ["sample_files"]


def sample_files() -> tuple[Path, Path]:
    """Return the configuration, and the day as the collector's file exporter would have written it."""
    here = Path(__file__).parent
    return here / "day.yaml", here / "day.otlp.zst"
