"""Everything that parses, given what it was not made for. Each part is a generator by seed: nothing here was recorded from anybody."""
