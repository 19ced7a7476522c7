"""`tidemark explain`: a window, a customer's period or an invoice line, taken apart down to the events; as text, JSON, a page, a file of evidence.

| file | is |
|---|---|
| `window.py`, `period.py`, `line.py`, `amount.py` | what is asked for, read from the archive and from Stripe |
| `pricing.py` | what units come to, from Stripe's own price |
| `as_json.py`, `show*.py` | the same for programs and for a terminal |
| `page*.py`, `markup.py`, `page.css` | the same as one HTML file to hand over |
| `evidence.py` | the events themselves, chained by hash, for somebody who does not trust us |
"""
