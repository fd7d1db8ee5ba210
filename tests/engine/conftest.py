"""Makes what the tests of the engine share importable from the directories below."""
