"""Input and output: transports that carry requests, and the driver that carries out calls over them."""
