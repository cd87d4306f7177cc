"""What can go wrong, what must always hold, and which tests show it.

``catalogue.toml`` names the faults, invariants and surfaces; a test says by a marker what it shows
(``@pytest.mark.fault(27)``, ``@pytest.mark.invariant(5)``, ``@pytest.mark.surface("logs")``).
``python -m tests.faults`` prints the table. Set a marker only where the test injects the fault, or checks
the promise, and the right behaviour is asserted. The other files here hold tests of faults that belong to
no single package.
"""
