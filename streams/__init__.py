"""What follows from the log: verdicts, windows, totals, revisions; a pure core, and a thin Faust shell around it."""
