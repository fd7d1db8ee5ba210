from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_Errors = list[str | None]
_Values = list[str | bytes]
_Parts = tuple[
    tuple[int, list[int], _Errors, int, int],  # rows, offsets, errors, skipped records, crowded requests
    tuple[bytes, bytes, bytes],  # trace, span and parent ids
    bytes,  # columns of u64, f64, i32 and u8: see tocsin.decode.wire
    tuple[list[str], list[str]],  # names, trace states
    tuple[list[str], list[_Values]],  # attribute columns
    tuple[list[int], list[int]],  # event times and flattened lists that occur
    tuple[int, bytes, list[str], list[_Values]],  # resources: rows, columns of f64, i32 and u8, names, values
    list[tuple[str, str]],  # scopes
]

class Scanner:
    def __new__(
        cls,
        *,
        attributes: Sequence[tuple[str, int]],
        indexed: Sequence[tuple[str, str]],
        event_times: Sequence[str],
        event_attributes: Sequence[tuple[str, str]],
        event_cap: int,
        log_events: Sequence[str],
        prefixes: Sequence[str] = ...,
        barred: Sequence[str] = ...,
        most_prefixed: int = ...,
        most_rows: int,
        most_cells: int,
    ) -> Scanner: ...
    def traces(self, requests: Sequence[bytes]) -> _Parts: ...
    def logs(self, requests: Sequence[bytes]) -> _Parts: ...

class KeyTable:
    def __new__(cls) -> KeyTable: ...
    def __len__(self) -> int: ...
    @property
    def rows(self) -> int: ...
    def find(self, keys: NDArray[np.uint64], out: NDArray[np.int32], /) -> None: ...
    def find_or_insert(self, keys: NDArray[np.uint64], out: NDArray[np.int32], fresh: NDArray[np.uint8], /) -> None: ...
    def keys(self, out: NDArray[np.uint64], /) -> None: ...
    def keys_by_row(self, out: NDArray[np.uint64], /) -> None: ...
    def renumber(self, moved: NDArray[np.int32], /) -> None: ...

def splice(request: bytes, costs: bytes, /) -> tuple[int, bytes | None]: ...
