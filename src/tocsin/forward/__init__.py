"""Passing received OTLP on to the next collector, unchanged or with the cost of each call added."""
