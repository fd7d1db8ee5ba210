"""What people see of a running service in a terminal: it asks the service's API, and decides nothing itself."""
