"""Sliding windows of mergeable partials, sketches, traces and the memory of spans seen. Pure."""
