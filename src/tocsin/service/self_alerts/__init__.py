"""Alerts about Tocsin itself, in project `tocsin`: what is wrong with it is told like everything else that is wrong."""
