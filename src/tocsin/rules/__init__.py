"""Rule text to rules: what a person writes is checked whole and becomes `Rule` values for the engine."""
