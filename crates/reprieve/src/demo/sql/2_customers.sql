INSERT INTO customers (id, name, email, country, joined_at)
SELECT n,
       (ARRAY['Ada', 'Brian', 'Chidi', 'Dorte', 'Emre', 'Frida', 'Goran', 'Hana'])[1 + n % 8] || ' '
           || (ARRAY['Okafor', 'Lindqvist', 'Moreau', 'Tanaka', 'O''Brien', 'Weiß', 'Silva'])[1 + n % 7],
       'customer' || n || '@example.com',
       (ARRAY['DE', 'FR', 'JP', 'BR', 'NG', 'SE'])[1 + n % 6],
       timestamptz '2021-01-01 00:00+00' + n * interval '97 minutes'
FROM generate_series(1, 21874) AS n;
