"""What the fork server imports once, so that no child has to."""

import tests.conftest
import tests.faults.hostile_sources
import tests.faults.hostile_stores
import tests.faults.hostile_tables
import tests.faults.power_cut  # noqa: F401
