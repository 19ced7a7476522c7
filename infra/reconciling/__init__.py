"""`tidemark reconcile`: per customer, meter and window what each stage says, from the raw event to the invoice line, and why two of them differ."""
