"""What contact points say in words of the user's own: Liquid within bounds, escaped for where it goes.

`bounds` and `filters` make the language, `json_output` the one that writes JSON, `config` is what a person writes under
`template:` and its check, `variables` what it may name, `dressing` puts it in place of the built-in words, and
`preview` shows what would be sent.
"""
