"""Routes of other products, so that scripts which were written for them run here: their fields, our rules.

A rule that is made through them is a rule of the YAML like any other; ids are made from its project and name, so that
they stay the same for as long as those do.
"""
