"""Webhooks: the registry, the outbox of deliveries, and sending."""
