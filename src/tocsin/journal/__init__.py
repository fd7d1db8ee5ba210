"""What the engine was given, kept on disk: a log of its inputs, and snapshots of its state. Knows only the model."""
