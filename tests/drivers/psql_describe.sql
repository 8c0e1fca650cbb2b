-- What psql tells about tables.
\d item
\d part
\dt
\d+ part_of_item
CREATE TABLE fresh AS SELECT * FROM item;
\d fresh
CREATE VIEW live AS SELECT * FROM item;
\d live
DROP VIEW live;
CREATE TABLE copied (LIKE item INCLUDING ALL);
\d copied
SELECT column_name, ordinal_position, data_type FROM information_schema.columns WHERE table_name = 'item' ORDER BY 2;
SELECT attname FROM pg_attribute WHERE attrelid = 'item'::regclass AND attnum > 0 ORDER BY attnum;
SELECT table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'item'::regclass;
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'item'::regclass ORDER BY 1;
SELECT pg_get_viewdef('information_schema.columns'::regclass) IS NOT NULL;
\dn
\di
\df
