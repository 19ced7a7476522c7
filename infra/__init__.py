"""What runs it: settings, wiring, workers, the command, the embedded stack, the sandbox.

Imports nothing, so that preflight.py can run before anything is installed.
"""
