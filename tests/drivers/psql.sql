-- What somebody does in psql, as a script.
\pset null '<null>'
\set VERBOSITY verbose
\set SHOW_CONTEXT always
TABLE item;
DELETE FROM item WHERE id = 1;
DELETE FROM item WHERE id = 1;
DELETE FROM item WHERE id IN (2, 3) RETURNING *;
SELECT * FROM item LEFT JOIN part ON part.item_id = item.id ORDER BY item.id, part.id;
INSERT INTO item VALUES (1, 'again', 1.5) RETURNING *;
\set VERBOSITY default
SELECT nope FROM item;
DELETE FROM item WHERE nope;
INSERT INTO part VALUES (900, 2, 'orphan');
BEGIN;
DELETE FROM item;
SELECT count(*) FROM item;
ROLLBACK;
\set AUTOCOMMIT off
DELETE FROM item WHERE id = 4;
ROLLBACK;
\set AUTOCOMMIT on
\set FETCH_COUNT 3
SELECT * FROM item ORDER BY id;
\unset FETCH_COUNT
SELECT id, name FROM item ORDER BY id \gdesc
DELETE FROM item WHERE id = 5 RETURNING id AS gone \gset
\echo :gone
DELETE FROM part WHERE id = 1 \; SELECT count(*) FROM part;
\copy item (id, name) from stdin
300	copied
301	copied
\.
\copy item to stdout
COPY item (id, name) FROM STDIN;
302	more
\.
COPY (SELECT * FROM item ORDER BY id) TO STDOUT;
DELETE FROM item WHERE id >= 300;
PREPARE gone(int) AS DELETE FROM item WHERE id = $1 RETURNING *;
EXECUTE gone(6);
EXECUTE gone(6);
SELECT 'DELETE FROM part WHERE id = ' || id FROM part ORDER BY id LIMIT 2 \gexec
EXPLAIN (COSTS OFF) VALUES (1);
CREATE TABLE fresh AS SELECT * FROM item;
SELECT * FROM fresh ORDER BY id;
DROP TABLE fresh;
CREATE VIEW live AS SELECT * FROM item;
DELETE FROM item WHERE id = 7;
SELECT * FROM live ORDER BY id;
DROP VIEW live;
\encoding
TRUNCATE part;
DELETE FROM item;
TABLE item;
