"""Alert events to people: contact points, messages, deliveries that do not get in each other's way."""
