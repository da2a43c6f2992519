"""Training on other machines, which Ray connects: the head, the nodes, and the process that trains on them."""
