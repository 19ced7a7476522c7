"""An account of usage that shares no code with the product: json, decimal, fractions, re, datetime, hashlib, zlib and nothing of ours."""
