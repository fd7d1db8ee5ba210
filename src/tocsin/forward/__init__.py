"""What was received goes on to the next collector: unchanged or with its cost, in order, from a queue on disk.

Nothing here ever holds up or fails what Tocsin itself makes of a request.
"""
