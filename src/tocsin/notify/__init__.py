"""Alert events to people: contact points, messages, deliveries that do not get in each other's way.

`message` turns an event into words, each contact point module turns words into one receiver's request,
`egress` and `http` decide where a request may go, and `outbox` sees to it that every event arrives at least
once.
"""
