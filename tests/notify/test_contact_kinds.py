import logging

import pytest
from alert_events import AT, alert_event, message_of
from pydantic import TypeAdapter, ValidationError

from tocsin.alerts.event import Transition
from tocsin.notify.contact import Attempt, ContactConfig, Rate
from tocsin.notify.egress import Network
from tocsin.notify.kinds import AnyContact
from tocsin.notify.log import Log, LogConfig
from tocsin.rules.rule import Severity

CONFIG: TypeAdapter[ContactConfig] = TypeAdapter(AnyContact)


def test_the_type_chooses_the_contact_point() -> None:
    assert isinstance(CONFIG.validate_python({"type": "log"}), LogConfig)


@pytest.mark.parametrize("written", [{"type": "carrier-pigeon"}, {}, {"type": None}, "log", {"type": "log", "x": 1}])
def test_what_is_no_contact_point_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        CONFIG.validate_python(written)


@pytest.mark.parametrize(
    ("written", "rate"),
    [("30/m", Rate(30, 60.0)), ("5/s", Rate(5, 1.0)), ("100 per hour", Rate(100, 3600.0)), (None, None)],
)
def test_a_rate_is_written_as_people_say_it(written: object, rate: Rate | None) -> None:
    config = CONFIG.validate_python({"type": "log", "rate_limit": written})
    assert config.rate_limit == rate


@pytest.mark.parametrize(
    ("severity", "level"),
    [
        (Severity.CRITICAL, logging.CRITICAL),
        (Severity.HIGH, logging.ERROR),
        (Severity.MEDIUM, logging.WARNING),
        (Severity.LOW, logging.INFO),
    ],
)
async def test_the_log_line_says_it_all_at_the_severitys_level(
    severity: Severity, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="tocsin.alerts")
    event = alert_event(severity=severity)
    notifier = CONFIG.validate_python({"type": "log"}).build(Network())
    await notifier.send(message_of(event), Attempt(AT))
    record = caplog.records[0]
    assert (record.name, record.levelno) == ("tocsin.alerts", level)
    assert "runaway-conversation: conversation conv-42 spent $27.31" in record.getMessage()
    assert record.getMessage().endswith("https://jaeger.example/trace/0af7651916cd43dd8448eb211c80319c")
    assert record.__dict__["alert"]["id"] == event.id


async def test_a_resolution_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tocsin.alerts")
    await Log().send(message_of(alert_event(Transition.RESOLVED, resolved_at=AT)), Attempt(AT))
    assert caplog.records[0].levelno == logging.INFO
