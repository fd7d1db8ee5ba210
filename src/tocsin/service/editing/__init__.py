"""Changes of the configuration's files that a program asks for: of one rule or one contact point, in its own place.

The files stay the only truth. A change touches the characters that it is about and no others, so comments, order,
quotes and anchors stay; it is checked as the whole configuration is, before anything is written; it takes the file's
place in one step, and what somebody else wrote at the same moment is kept.
"""
