"""Expressions as the engine evaluates them: a tree over windows becomes nodes that give values for slots of groups.

A node keeps no values. It is asked for some groups at some instant and asks the nodes below it in turn, down to the
windows, so that what was asked before, and how samples were batched, never shows in an answer.
"""
