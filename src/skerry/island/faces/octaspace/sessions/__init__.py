"""Services and their sessions: on offer, started, carried, billed, ended (protocol sections 3.5 to 3.12 and 5)."""
