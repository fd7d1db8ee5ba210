"""The parts of the page, a module and a template each: a function that gives a `Section`."""
