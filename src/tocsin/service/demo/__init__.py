"""The demo: a night's story, sent over real OTLP/gRPC to a real service in this process, told on the terminal."""
