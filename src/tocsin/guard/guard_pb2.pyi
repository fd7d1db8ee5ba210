from collections.abc import Iterable as _Iterable
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar

from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from google.protobuf.internal import containers as _containers

DESCRIPTOR: _descriptor.FileDescriptor

class Block(_message.Message):
    __slots__ = ("alert_id", "block_id", "by", "label", "project", "reason", "rule", "until_unix_nano", "value")
    BLOCK_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNTIL_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    ALERT_ID_FIELD_NUMBER: _ClassVar[int]
    block_id: str
    label: str
    value: str
    reason: str
    until_unix_nano: int
    by: str
    project: str
    rule: str
    alert_id: str
    def __init__(
        self,
        block_id: str | None = ...,
        label: str | None = ...,
        value: str | None = ...,
        reason: str | None = ...,
        until_unix_nano: int | None = ...,
        by: str | None = ...,
        project: str | None = ...,
        rule: str | None = ...,
        alert_id: str | None = ...,
    ) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("labels",)
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: str | None = ..., value: str | None = ...) -> None: ...

    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, labels: _Mapping[str, str] | None = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("block", "blocked")
    BLOCKED_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    blocked: bool
    block: Block
    def __init__(self, blocked: bool | None = ..., block: Block | _Mapping[str, object] | None = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("instance", "version")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    instance: str
    version: int
    def __init__(self, instance: str | None = ..., version: int | None = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("blocked", "complete", "instance", "now_unix_nano", "removed", "reset", "version")
    class Key(_message.Message):
        __slots__ = ("label", "value")
        LABEL_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        label: str
        value: str
        def __init__(self, label: str | None = ..., value: str | None = ...) -> None: ...

    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NOW_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_FIELD_NUMBER: _ClassVar[int]
    instance: str
    version: int
    now_unix_nano: int
    reset: bool
    complete: bool
    removed: _containers.RepeatedCompositeFieldContainer[WatchResponse.Key]
    blocked: _containers.RepeatedCompositeFieldContainer[Block]
    def __init__(
        self,
        instance: str | None = ...,
        version: int | None = ...,
        now_unix_nano: int | None = ...,
        reset: bool | None = ...,
        complete: bool | None = ...,
        removed: _Iterable[WatchResponse.Key | _Mapping[str, object]] | None = ...,
        blocked: _Iterable[Block | _Mapping[str, object]] | None = ...,
    ) -> None: ...
