-- 12,109 refunds of the 8,642 payments of test orders, 72,120 of the 183,811 others.
INSERT INTO refunds (id, payment_id, amount, reason, refunded_at)
SELECT row_number() OVER (ORDER BY p.id, n), p.id, round(p.amount / (n + 1), 2),
       (ARRAY['damaged', 'late', 'wrong size', NULL])[1 + (p.id + n) % 4], p.paid_at + n * interval '3 days'
FROM (SELECT p.*, row_number() OVER (PARTITION BY o.is_test ORDER BY p.id) - 1 AS k,
             CASE WHEN o.is_test THEN 12109 ELSE 72120 END AS many,
             CASE WHEN o.is_test THEN 8642 ELSE 183811 END AS parents
      FROM payments p JOIN orders o ON o.id = p.order_id) AS p,
     generate_series(1, (p.k + 1) * p.many / p.parents - p.k * p.many / p.parents) AS n;
