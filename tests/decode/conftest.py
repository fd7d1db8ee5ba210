"""Without the native decoder there is nothing to compare."""

from tocsin.decode import NATIVE

collect_ignore = (
    []
    if NATIVE
    else ["test_agreement.py", "test_wire_format.py", "test_hostile_requests.py", "test_room_for_columns.py"]
)
