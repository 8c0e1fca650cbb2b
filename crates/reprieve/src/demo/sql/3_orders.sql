-- 58,921 is prime to 1,009, so n * 1009 % 58921 takes every value once: 1,237 orders are tests, scattered.
INSERT INTO orders (id, customer_id, reference, status, total, is_test, placed_at)
SELECT n,
       1 + n * 7919 % 21874,
       'R-' || to_char(n, 'FM000000'),
       (ARRAY['new', 'paid', 'shipped', 'refunded'])[1 + n % 4],
       (500 + n * 31 % 24000) / 100.0,
       n * 1009 % 58921 < 1237,
       timestamptz '2023-01-01 00:00+00' + n * interval '17 minutes'
FROM generate_series(1, 58921) AS n;
