"""Backtests: rules over what was recorded, or over files, through the engine that pages people.

`backtest` is the library call; it gives a `Report`, plain values that become JSON.
"""

from tocsin.service.backtest.failures import BacktestError, CancelledBacktestError
from tocsin.service.backtest.period import Period, parse_period
from tocsin.service.backtest.report import Report, as_json
from tocsin.service.backtest.run import Progress, Version, backtest
from tocsin.service.backtest.sources import Files, History, Source

__all__ = [
    "BacktestError",
    "CancelledBacktestError",
    "Files",
    "History",
    "Period",
    "Progress",
    "Report",
    "Source",
    "Version",
    "as_json",
    "backtest",
    "parse_period",
]
