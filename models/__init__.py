"""Networks and engines: arrays in, arrays out. `models.spec` describes a network, `models.engine` runs it."""
