"""`python -m service.jobs`: a worker process."""

import sys

from service.jobs.worker import main

if __name__ == "__main__":
    sys.exit(main())
