"""How jobs come about, are carried out, told of and ended (sections 3.3 to 3.5 and 5.4)."""
