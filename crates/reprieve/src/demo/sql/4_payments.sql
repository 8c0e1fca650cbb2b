-- 8,642 payments of 1,237 test orders, 183,811 of the 57,684 others. Of `many` children parent k of `parents`
-- gets (k + 1) * many / parents - k * many / parents: as even as whole numbers can be, and exact in sum.
INSERT INTO payments (id, order_id, amount, method, paid_at)
SELECT row_number() OVER (ORDER BY o.id, n), o.id, o.total, (ARRAY['card', 'invoice', 'wallet'])[1 + (o.id + n) % 3],
       o.placed_at + n * interval '11 hours'
FROM (SELECT *, row_number() OVER (PARTITION BY is_test ORDER BY id) - 1 AS k,
             CASE WHEN is_test THEN 8642 ELSE 183811 END AS many,
             CASE WHEN is_test THEN 1237 ELSE 57684 END AS parents FROM orders) AS o,
     generate_series(1, (o.k + 1) * o.many / o.parents - o.k * o.many / o.parents) AS n;
