"""Rule text to rules: what a person writes is validated whole and becomes immutable `Rule` values for the engine."""
