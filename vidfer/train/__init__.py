"""Training of the two networks. The only part of vidfer that imports torch; the runtime never imports it."""
