"""What flows through Tocsin: attributes and spans as columns, and the words for them. Knows no other package."""
