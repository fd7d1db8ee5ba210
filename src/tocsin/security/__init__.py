"""Who may do what: TLS, tokens and roles, and where a listener may stand without them."""
