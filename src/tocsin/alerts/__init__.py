"""Alert state per rule and group, and the events that its changes make. Pure: time is an argument."""
