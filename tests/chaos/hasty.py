"""`python -m tests.chaos.hasty KIND SECONDS`: a worker of the product whose consumer may be silent only this long.

Nothing else of it differs. Kafka's own limit is sixteen minutes in the product, longer than anybody waits for a test.
"""

from __future__ import annotations

import sys

from infra import faust_app, worker

if __name__ == "__main__":
    faust_app.MAX_POLL_INTERVAL_S = float(sys.argv[2])
    worker.run(sys.argv[1])
