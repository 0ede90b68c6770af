"""The Arker face: the wire of protocol version 0.3.0, with the 0.2.0 profile below `/api/v1`."""
