"""`python -m service.jobs`: a worker process."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # until all is imported: looking through what stays anyway is a tenth of the start
    from service.jobs.worker import main

    sys.exit(main())
