"""The selective scan of the network: its definition, its backends, and the choice among them."""
