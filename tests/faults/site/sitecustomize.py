"""Run by every Python that is started while a guard is off: it is off there too."""

import tests.faults  # noqa: F401
