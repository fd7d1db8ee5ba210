"""The HTTP side for people and programs: metrics and health; one module a resource, wired by `app`."""
