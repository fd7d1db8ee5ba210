"""Price tables to the cost of a span: nano-USD, with where each cost comes from."""
