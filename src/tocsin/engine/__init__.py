"""A batch in, alert events out: the pure heart that live traffic, replay and tests share."""
