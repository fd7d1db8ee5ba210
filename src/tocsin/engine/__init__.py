"""A batch in, alert events out: the pure heart that live traffic, replay and tests share."""

from tocsin.engine.engine import Engine
from tocsin.engine.statistics import EngineStatistics

__all__ = ["Engine", "EngineStatistics"]
