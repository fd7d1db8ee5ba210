from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar

from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper

DESCRIPTOR: _descriptor.FileDescriptor

class SpanBatch(_message.Message):
    __slots__ = (
        "bases",
        "columns",
        "data",
        "empty",
        "labels",
        "lengths",
        "numbers",
        "rows",
        "text",
        "values",
        "widths",
    )
    class Column(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNSPECIFIED: _ClassVar[SpanBatch.Column]
        END: _ClassVar[SpanBatch.Column]
        ARRIVAL: _ClassVar[SpanBatch.Column]
        START: _ClassVar[SpanBatch.Column]
        LATENCY: _ClassVar[SpanBatch.Column]
        TRACE_HI: _ClassVar[SpanBatch.Column]
        TRACE_LO: _ClassVar[SpanBatch.Column]
        SPAN_ID: _ClassVar[SpanBatch.Column]
        PARENT_ID: _ClassVar[SpanBatch.Column]
        SPAN_CLASS: _ClassVar[SpanBatch.Column]
        FAILED: _ClassVar[SpanBatch.Column]
        SCOPE: _ClassVar[SpanBatch.Column]
        WRAPS: _ClassVar[SpanBatch.Column]
        DEFERRED: _ClassVar[SpanBatch.Column]
        INPUT_TOKENS: _ClassVar[SpanBatch.Column]
        OUTPUT_TOKENS: _ClassVar[SpanBatch.Column]
        CACHE_READ_TOKENS: _ClassVar[SpanBatch.Column]
        CACHE_WRITE_TOKENS: _ClassVar[SpanBatch.Column]
        CACHE_WRITE_1H_TOKENS: _ClassVar[SpanBatch.Column]
        REASONING_TOKENS: _ClassVar[SpanBatch.Column]
        INPUT_AUDIO_TOKENS: _ClassVar[SpanBatch.Column]
        OUTPUT_AUDIO_TOKENS: _ClassVar[SpanBatch.Column]
        REPORTED_USD: _ClassVar[SpanBatch.Column]
        TTFT_MS: _ClassVar[SpanBatch.Column]
        ADJUSTED_COUNT: _ClassVar[SpanBatch.Column]
        COST_NANO: _ClassVar[SpanBatch.Column]
        COMPUTED_NANO: _ClassVar[SpanBatch.Column]
        COST_SOURCE: _ClassVar[SpanBatch.Column]

    UNSPECIFIED: SpanBatch.Column
    END: SpanBatch.Column
    ARRIVAL: SpanBatch.Column
    START: SpanBatch.Column
    LATENCY: SpanBatch.Column
    TRACE_HI: SpanBatch.Column
    TRACE_LO: SpanBatch.Column
    SPAN_ID: SpanBatch.Column
    PARENT_ID: SpanBatch.Column
    SPAN_CLASS: SpanBatch.Column
    FAILED: SpanBatch.Column
    SCOPE: SpanBatch.Column
    WRAPS: SpanBatch.Column
    DEFERRED: SpanBatch.Column
    INPUT_TOKENS: SpanBatch.Column
    OUTPUT_TOKENS: SpanBatch.Column
    CACHE_READ_TOKENS: SpanBatch.Column
    CACHE_WRITE_TOKENS: SpanBatch.Column
    CACHE_WRITE_1H_TOKENS: SpanBatch.Column
    REASONING_TOKENS: SpanBatch.Column
    INPUT_AUDIO_TOKENS: SpanBatch.Column
    OUTPUT_AUDIO_TOKENS: SpanBatch.Column
    REPORTED_USD: SpanBatch.Column
    TTFT_MS: SpanBatch.Column
    ADJUSTED_COUNT: SpanBatch.Column
    COST_NANO: SpanBatch.Column
    COMPUTED_NANO: SpanBatch.Column
    COST_SOURCE: SpanBatch.Column
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    EMPTY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    WIDTHS_FIELD_NUMBER: _ClassVar[int]
    BASES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    rows: int
    columns: _containers.RepeatedScalarFieldContainer[SpanBatch.Column]
    empty: _containers.RepeatedScalarFieldContainer[SpanBatch.Column]
    labels: _containers.RepeatedScalarFieldContainer[str]
    numbers: _containers.RepeatedScalarFieldContainer[str]
    widths: _containers.RepeatedScalarFieldContainer[int]
    bases: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    values: _containers.RepeatedScalarFieldContainer[int]
    text: bytes
    lengths: _containers.RepeatedScalarFieldContainer[int]
    def __init__(
        self,
        rows: int | None = ...,
        columns: _Iterable[SpanBatch.Column | str] | None = ...,
        empty: _Iterable[SpanBatch.Column | str] | None = ...,
        labels: _Iterable[str] | None = ...,
        numbers: _Iterable[str] | None = ...,
        widths: _Iterable[int] | None = ...,
        bases: _Iterable[int] | None = ...,
        data: bytes | None = ...,
        values: _Iterable[int] | None = ...,
        text: bytes | None = ...,
        lengths: _Iterable[int] | None = ...,
    ) -> None: ...
