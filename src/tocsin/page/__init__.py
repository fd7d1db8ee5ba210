"""The page: what people see of the service in a browser, rendered here and kept up to date by fragments.

It asks the same functions as the REST API does, never HTTP. Nothing in it needs another host, a build step, inline
scripts or inline styles. `shell` is the frame of every page, `sections` has one module for each part of it.
"""
