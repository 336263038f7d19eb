"""The events of the editorial shard, every event type this release writes, and upcasts of older versions."""
