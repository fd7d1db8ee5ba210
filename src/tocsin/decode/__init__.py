"""OTLP bytes to columns, by the native decoder where it was built and by the protobuf one where not.

`decode_traces` and `decode_logs` take requests that are evaluated together and give one `Decoded`; a malformed request
is refused alone. Both decoders give equal columns or both refuse.
"""
