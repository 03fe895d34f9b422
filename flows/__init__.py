"""What runs, when, and who must agree."""

import logging

from flows.logs import VisibleRecord

# Before anything is logged, in the command line as in the processes of Prefect's worker.
logging.setLogRecordFactory(VisibleRecord)
