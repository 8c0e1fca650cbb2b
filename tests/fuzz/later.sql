-- Made through the proxy, after everything else was enabled.
CREATE TABLE late (id int PRIMARY KEY, emp_id int REFERENCES emp ON DELETE SET NULL, v text, n int);
CREATE VIEW v_emp AS SELECT e.*, d.name AS dept FROM emp e LEFT JOIN dept d ON d.id = e.dept_id;
CREATE VIEW v_task AS SELECT id, title, prio FROM task WHERE prio < 60 WITH CHECK OPTION;
CREATE VIEW v_count AS SELECT d.id, d.name, count(e.id)::int AS n FROM dept d LEFT JOIN emp e ON e.dept_id = d.id GROUP BY d.id;
CREATE VIEW v_late AS SELECT t.*, e.name FROM task t JOIN emp e ON e.id = t.emp_id WHERE t.prio > 10;
CREATE VIEW v_star AS SELECT * FROM "Mixed Case";
CREATE VIEW v_animal AS SELECT id, name, legs, tableoid::regclass::text AS kind FROM animal;
CREATE VIEW v_union AS SELECT id, name FROM emp UNION ALL SELECT id, name FROM app.emp;
CREATE VIEW v_over AS SELECT id, name, n FROM v_count WHERE n > 0;
CREATE MATERIALIZED VIEW m_dept AS SELECT dept_id, count(*)::int AS n, sum(salary) AS total FROM emp GROUP BY dept_id;
ALTER TABLE app.log ADD COLUMN extra int DEFAULT 7;
ALTER TABLE tree ADD COLUMN w numeric(10,2);
