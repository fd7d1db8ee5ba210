"""OTLP over gRPC and HTTP: raw bytes in, and the answer that makes an exporter do the right thing.

A receiver limits and decompresses; it decodes nothing. It offers bytes to an `Intake` and answers when what
they brought is accepted. Start reading at `otlp.py`.
"""
