"""One suite per port, run on the real thing and on its stand-in alike."""
