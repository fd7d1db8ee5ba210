"""Who is told of an alert, where its rule does not say, and what keeps a message back.

`tree` finds contact points, `timings` knows the hours in which nobody wants to hear, `inhibition` and `silences` hold
back, and `router` puts them together into one decision an event. Nothing here waits, and nothing here sends.
"""
