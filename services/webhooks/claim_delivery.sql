-- Claims the delivery that is due longest, of an enabled webhook without a delivery in flight. One in flight per webhook:
-- a slow receiver occupies one sender, and its queue is not scanned. $1 is the claim's id, $2 the lease.
WITH due AS (
     SELECT d.id FROM webhooks AS w CROSS JOIN LATERAL (
            SELECT n.id, n.next_at FROM webhook_deliveries AS n
             WHERE n.webhook = w.id AND n.state = 'pending' AND n.next_at <= now() ORDER BY n.next_at LIMIT 1) AS d
      WHERE w.disabled_at IS NULL
        AND NOT EXISTS (SELECT FROM webhook_deliveries AS o
                         WHERE o.webhook = w.id AND o.claim IS NOT NULL AND o.next_at > now())
      ORDER BY d.next_at LIMIT 1 FOR NO KEY UPDATE OF w SKIP LOCKED)
UPDATE webhook_deliveries AS d
   SET claim = $1, attempts = d.attempts + 1, next_at = now() + $2, updated_at = now()
  FROM due, webhooks AS w
 WHERE d.id = due.id AND d.state = 'pending' AND d.next_at <= now() AND w.id = d.webhook
RETURNING d.id, d.webhook, d.claim, d.attempts, d.payload, w.url, w.secret,
          CASE WHEN w.old_until > now() THEN w.old_secret END AS old_secret
