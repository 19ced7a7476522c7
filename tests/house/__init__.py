"""The rules of this code base as tests: a rule that nobody measures is a wish."""
