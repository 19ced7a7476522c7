"""Every way in which a total goes wrong, as a seeded check, and a switchboard that removes one guard at a time to see that a check notices."""
