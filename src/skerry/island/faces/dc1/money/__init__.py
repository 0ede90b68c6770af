"""What jobs cost, what renters have, what providers earn (sections 3.9 and 5.1 to 5.3)."""
