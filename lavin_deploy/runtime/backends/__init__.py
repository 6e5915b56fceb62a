"""Libraries that run graphs, behind one protocol, and the choice between them."""
