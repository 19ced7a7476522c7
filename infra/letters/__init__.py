"""Dead letters: what each would be worth, how it is put right, and how it is sent once more, once."""
