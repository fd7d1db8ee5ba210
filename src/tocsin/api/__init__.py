"""The HTTP side: metrics, health."""
