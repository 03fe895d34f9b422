"""Whether the user has pressed Ctrl-C. Code of libraries may turn that into another error."""

import threading

requested = threading.Event()
