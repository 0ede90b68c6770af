"""What only the operator may do (section 3.9)."""
