import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import org.postgresql.PGConnection;
import org.postgresql.PGResultSetMetaData;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** What applications do with the JDBC driver, printed in sections that start with "== ". */
public class Session {
    interface Step {
        void run() throws Exception;
    }

    static Connection db;

    static void section(String name, Step step) {
        System.out.println("== " + name);
        try {
            step.run();
        } catch (Exception error) {
            print(error);
            try {
                if (!db.getAutoCommit()) {
                    db.rollback();
                    db.setAutoCommit(true);
                }
            } catch (SQLException next) {
                print(next);
            }
        }
    }

    static void print(Exception error) {
        for (Throwable e = error; e != null; e = e instanceof SQLException ? ((SQLException) e).getNextException() : null) {
            System.out.println(e.getClass().getSimpleName() + ": " + e.getMessage());
            if (e instanceof PSQLException && ((PSQLException) e).getServerErrorMessage() != null) {
                ServerErrorMessage m = ((PSQLException) e).getServerErrorMessage();
                System.out.println(m.getSQLState() + "|" + m.getDetail() + "|" + m.getHint() + "|" + m.getPosition() + "|" + m.getWhere() + "|"
                    + m.getSchema() + "|" + m.getTable() + "|" + m.getColumn() + "|" + m.getConstraint());
            }
        }
    }

    static void describe(ResultSetMetaData meta) throws SQLException {
        for (int i = 1; i <= meta.getColumnCount(); i++) {
            PGResultSetMetaData pg = meta instanceof PGResultSetMetaData ? (PGResultSetMetaData) meta : null;
            System.out.println("  " + meta.getColumnLabel(i) + " " + meta.getColumnTypeName(i) + " " + meta.getPrecision(i) + "," + meta.getScale(i)
                + " null=" + meta.isNullable(i) + " auto=" + meta.isAutoIncrement(i) + " writable=" + meta.isWritable(i)
                + (pg == null ? "" : " base=" + pg.getBaseSchemaName(i) + "." + pg.getBaseTableName(i) + "." + pg.getBaseColumnName(i)));
        }
    }

    static void rows(ResultSet rs) throws SQLException {
        int n = rs.getMetaData().getColumnCount();
        while (rs.next()) {
            StringBuilder line = new StringBuilder();
            for (int i = 1; i <= n; i++) {
                line.append(i > 1 ? "|" : "").append(rs.getString(i));
            }
            // Specific names of functions end with their number.
            System.out.println(line.toString().replaceAll("_[0-9]{5,}", "_n"));
        }
        rs.close();
    }

    static void query(String sql) throws SQLException {
        try (Statement st = db.createStatement(); ResultSet rs = st.executeQuery(sql)) {
            rows(rs);
        }
    }

    static void execute(String sql) throws SQLException {
        try (Statement st = db.createStatement()) {
            boolean more = st.execute(sql);
            while (true) {
                if (more) {
                    rows(st.getResultSet());
                } else if (st.getUpdateCount() == -1) {
                    return;
                } else {
                    System.out.println("count " + st.getUpdateCount());
                }
                more = st.getMoreResults();
            }
        }
    }

    static void counts(int[] counts) {
        StringBuilder line = new StringBuilder("counts");
        for (int c : counts) {
            line.append(' ').append(c);
        }
        System.out.println(line);
    }

    static void metadata() {
        section("metadata tables", () -> rows(db.getMetaData().getTables(null, null, "%", new String[] {
            "TABLE", "VIEW", "INDEX", "SEQUENCE", "TYPE", "MATERIALIZED VIEW", "PARTITIONED TABLE"})));
        section("metadata columns", () -> {
            ResultSet rs = db.getMetaData().getColumns(null, "shop", "%", "%");
            describe(rs.getMetaData());
            rows(rs);
        });
        section("metadata schemas", () -> rows(db.getMetaData().getSchemas()));
        section("metadata catalogs", () -> rows(db.getMetaData().getCatalogs()));
        for (String table : new String[] {"customers", "orders", "lines", "tags"}) {
            section("metadata of " + table, () -> {
                DatabaseMetaData m = db.getMetaData();
                rows(m.getPrimaryKeys(null, "shop", table));
                rows(m.getImportedKeys(null, "shop", table));
                rows(m.getExportedKeys(null, "shop", table));
                // Cardinality and pages are estimates.
                ResultSet rs = m.getIndexInfo(null, "shop", table, false, true);
                while (rs.next()) {
                    System.out.println(rs.getString(4) + "|" + rs.getString(6) + "|" + rs.getString(7) + "|" + rs.getString(8) + "|"
                        + rs.getString(9) + "|" + rs.getString(10) + "|" + rs.getString(13));
                }
                rows(m.getBestRowIdentifier(null, "shop", table, DatabaseMetaData.bestRowSession, true));
                rows(m.getVersionColumns(null, "shop", table));
                rows(m.getTablePrivileges(null, "shop", table));
                rows(m.getColumnPrivileges(null, "shop", table, "%"));
            });
        }
        section("metadata cross reference", () -> rows(db.getMetaData().getCrossReference(null, "shop", "customers", null, "shop", "orders")));
        section("metadata functions", () -> {
            rows(db.getMetaData().getFunctions(null, "shop", "%"));
            rows(db.getMetaData().getProcedures(null, "shop", "%"));
            rows(db.getMetaData().getProcedureColumns(null, "shop", "%", "%"));
            rows(db.getMetaData().getFunctionColumns(null, "shop", "%", "%"));
        });
        section("metadata functions anywhere", () -> {
            ResultSet rs = db.getMetaData().getFunctions(null, null, "%");
            int n = 0;
            while (rs.next()) {
                n++;
                if (rs.getString(2).startsWith("rep")) {
                    System.out.println(rs.getString(2) + "." + rs.getString(3));
                }
            }
            System.out.println(n);
        });
        section("metadata types", () -> {
            rows(db.getMetaData().getUDTs(null, "shop", "%", null));
            ResultSet rs = db.getMetaData().getTypeInfo();
            while (rs.next()) {
                System.out.println(rs.getString(1));
            }
        });
    }

    static void updatable() {
        section("updatable result set", () -> {
            try (Statement st = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
                 ResultSet rs = st.executeQuery("SELECT * FROM shop.customers ORDER BY id")) {
                rs.next();
                rs.updateString("name", "Ann II");
                rs.updateRow();
                rs.next();
                rs.deleteRow();
                rs.moveToInsertRow();
                rs.updateInt("id", 3);
                rs.updateString("email", "c@x");
                rs.insertRow();
                rs.moveToCurrentRow();
                rs.last();
                System.out.println(rs.getRow() + " " + rs.getString("email"));
                rs.refreshRow();
            }
            query("SELECT * FROM shop.customers ORDER BY id");
            query("SELECT * FROM shop.orders ORDER BY id");
        });
        section("scrolling with fetch size", () -> {
            db.setAutoCommit(false);
            try (Statement st = db.createStatement()) {
                st.setFetchSize(2);
                ResultSet rs = st.executeQuery("SELECT id, total FROM shop.orders ORDER BY id");
                rs.next();
                try (Statement other = db.createStatement()) {
                    System.out.println(other.executeUpdate("DELETE FROM shop.orders WHERE id > 2"));
                }
                rows(rs);
            }
            db.rollback();
            db.setAutoCommit(true);
        });
    }

    static void writes() {
        section("generated keys", () -> {
            try (PreparedStatement ps = db.prepareStatement("INSERT INTO shop.orders (customer_id, total) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
                ps.setInt(1, 1);
                ps.setBigDecimal(2, new BigDecimal("9.90"));
                System.out.println(ps.executeUpdate());
                describe(ps.getGeneratedKeys().getMetaData());
                rows(ps.getGeneratedKeys());
            }
            try (PreparedStatement ps = db.prepareStatement("DELETE FROM shop.orders WHERE total < ?", Statement.RETURN_GENERATED_KEYS)) {
                ps.setBigDecimal(1, new BigDecimal("9.91"));
                System.out.println(ps.executeUpdate());
                rows(ps.getGeneratedKeys());
            }
            try (PreparedStatement ps = db.prepareStatement("UPDATE shop.orders SET total = total + 1", new String[] {"id", "total"})) {
                System.out.println(ps.executeUpdate());
                rows(ps.getGeneratedKeys());
            }
        });
        section("batch with generated keys", () -> {
            try (PreparedStatement ps = db.prepareStatement("INSERT INTO shop.tags (name) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
                for (String name : new String[] {"x", "y", "z"}) {
                    ps.setString(1, name);
                    ps.addBatch();
                }
                counts(ps.executeBatch());
                rows(ps.getGeneratedKeys());
            }
            try (PreparedStatement ps = db.prepareStatement("DELETE FROM shop.tags WHERE name = ?")) {
                for (String name : new String[] {"x", "nobody", "y"}) {
                    ps.setString(1, name);
                    ps.addBatch();
                }
                counts(ps.executeBatch());
            }
            try (PreparedStatement ps = db.prepareStatement("INSERT INTO shop.tags (name) VALUES (?)")) {
                for (String name : new String[] {"x", "z", "w"}) {
                    ps.setString(1, name);
                    ps.addBatch();
                }
                try {
                    counts(ps.executeBatch());
                } catch (BatchUpdateException error) {
                    counts(error.getUpdateCounts());
                    print(error);
                }
            }
            query("SELECT name FROM shop.tags ORDER BY 1");
        });
        section("batch of statements", () -> {
            try (Statement st = db.createStatement()) {
                st.addBatch("DELETE FROM shop.tags WHERE name = 'z'");
                st.addBatch("INSERT INTO shop.tags (name) VALUES ('z')");
                st.addBatch("DELETE FROM shop.tags");
                st.addBatch("INSERT INTO shop.tags (name) VALUES ('z')");
                counts(st.executeBatch());
            }
        });
        section("several statements", () -> execute("DELETE FROM shop.tags; INSERT INTO shop.tags (name) VALUES ('m') RETURNING name; SELECT count(*) FROM shop.tags; DELETE FROM shop.tags RETURNING *"));
        section("savepoints", () -> {
            db.setAutoCommit(false);
            execute("DELETE FROM shop.lines");
            Savepoint point = db.setSavepoint();
            execute("DELETE FROM shop.orders");
            query("SELECT count(*) FROM shop.orders");
            db.rollback(point);
            query("SELECT count(*) FROM shop.orders");
            Savepoint named = db.setSavepoint("two words");
            try {
                execute("INSERT INTO shop.orders (customer_id, total) VALUES (2, 1)");
            } catch (SQLException error) {
                print(error);
                db.rollback(named);
            }
            db.releaseSavepoint(point);
            db.rollback();
            db.setAutoCommit(true);
            query("SELECT count(*) FROM shop.lines");
        });
        section("autosave", () -> {
            ((PGConnection) db).setAutosave(org.postgresql.jdbc.AutoSave.ALWAYS);
            db.setAutoCommit(false);
            execute("DELETE FROM shop.lines WHERE n = 1");
            try {
                execute("DELETE FROM shop.lines WHERE n = 1 / 0");
            } catch (SQLException error) {
                print(error);
            }
            query("SELECT * FROM shop.lines ORDER BY 1, 2");
            db.rollback();
            db.setAutoCommit(true);
            ((PGConnection) db).setAutosave(org.postgresql.jdbc.AutoSave.NEVER);
        });
        section("errors", () -> {
            for (String sql : new String[] {
                "INSERT INTO shop.customers (id, email) VALUES (1, 'z')", "DELETE FROM shop.guarded", "DELETE FROM shop.customers WHERE nope = 1",
                "SELECT deleted_at FROM shop.orders", "SELECT x.deletion_id FROM shop.orders x", "INSERT INTO shop.orders VALUES (1, 1, 1, now(), 1, 2, 3)",
                "UPDATE shop.orders SET deleted_at = now()", "DELETE FROM shop.orders o WHERE orders.id = 1", "DELETE FROM shop.nothing"}) {
                try {
                    execute(sql);
                } catch (SQLException error) {
                    print(error);
                }
            }
        });
    }

    static void prepared() {
        section("prepared on the server, then ALTER", () -> {
            PreparedStatement select = db.prepareStatement("SELECT * FROM shop.orders WHERE customer_id = ? ORDER BY id");
            select.unwrap(PGStatement.class).setPrepareThreshold(1);
            PreparedStatement delete = db.prepareStatement("DELETE FROM shop.orders WHERE id = ? RETURNING *");
            delete.unwrap(PGStatement.class).setPrepareThreshold(1);
            for (int i = 0; i < 3; i++) {
                select.setInt(1, 1);
                rows(select.executeQuery());
                delete.setInt(1, 100 + i);
                rows(delete.executeQuery());
            }
            execute("ALTER TABLE shop.orders ADD COLUMN note text DEFAULT 'n'");
            for (int i = 0; i < 3; i++) {
                try {
                    select.setInt(1, 1);
                    rows(select.executeQuery());
                    delete.setInt(1, i);
                    rows(delete.executeQuery());
                } catch (SQLException error) {
                    print(error);
                }
            }
            describe(select.getMetaData());
            execute("ALTER TABLE shop.orders DROP COLUMN note");
            try {
                rows(select.executeQuery());
            } catch (SQLException error) {
                print(error);
            }
            describe(db.prepareStatement("SELECT * FROM shop.orders").getMetaData());
            describe(db.prepareStatement("DELETE FROM shop.orders WHERE id = ? AND total > ? RETURNING *").getMetaData());
            System.out.println(db.prepareStatement("DELETE FROM shop.orders WHERE id = ? AND total > ?").getParameterMetaData().getParameterTypeName(2));
        });
        section("binary transfer", () -> {
            PreparedStatement ps = db.prepareStatement("SELECT id, total, at, ARRAY[id, 2], o FROM shop.orders o ORDER BY id");
            ps.unwrap(PGStatement.class).setPrepareThreshold(-1);
            rows(ps.executeQuery());
        });
        section("calls", () -> {
            CallableStatement call = db.prepareCall("{? = call shop.twice(?)}");
            call.registerOutParameter(1, Types.INTEGER);
            call.setInt(2, 21);
            call.execute();
            System.out.println(call.getInt(1));
            PreparedStatement escaped = db.prepareStatement("SELECT {fn ucase(email)}, {d '2026-01-01'} FROM shop.customers {oj c LEFT OUTER JOIN shop.orders o ON o.customer_id = c.id} WHERE c.id = 1");
            rows(escaped.executeQuery());
        });
        section("arrays", () -> {
            PreparedStatement ps = db.prepareStatement("DELETE FROM shop.lines WHERE n = ANY (?)");
            ps.setArray(1, db.createArrayOf("int4", new Object[] {1, 5}));
            System.out.println(ps.executeUpdate());
            query("SELECT * FROM shop.lines ORDER BY 1, 2");
        });
    }

    static void copies() {
        section("copy", () -> {
            CopyManager copy = ((PGConnection) db).getCopyAPI();
            System.out.println(copy.copyIn("COPY shop.tags FROM STDIN", new StringReader("c1\nc2\nc3\n")));
            System.out.println(copy.copyIn("COPY shop.tags (name) FROM STDIN WITH (FORMAT csv, HEADER)", new StringReader("name\n\"c,4\"\n")));
            execute("DELETE FROM shop.tags WHERE name = 'c2'");
            StringWriter out = new StringWriter();
            System.out.println(copy.copyOut("COPY shop.tags TO STDOUT WITH (FORMAT csv, HEADER)", out));
            System.out.println(out);
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            System.out.println(copy.copyOut("COPY shop.tags TO STDOUT (FORMAT binary)", bytes) + " " + bytes.size());
            System.out.println(copy.copyIn("COPY shop.tags FROM STDIN", new StringReader("c2\n")));
            System.out.println(copy.copyIn("COPY shop.tags FROM STDIN", new StringReader("c1\n")));
        });
        section("large objects", () -> {
            db.setAutoCommit(false);
            LargeObjectManager manager = ((PGConnection) db).getLargeObjectAPI();
            long oid = manager.createLO(LargeObjectManager.READ | LargeObjectManager.WRITE);
            LargeObject object = manager.open(oid, LargeObjectManager.WRITE);
            object.write("hello".getBytes());
            object.close();
            PreparedStatement ps = db.prepareStatement("INSERT INTO shop.files (id, content) VALUES (1, ?)");
            ps.setLong(1, oid);
            ps.executeUpdate();
            execute("DELETE FROM shop.files");
            object = manager.open(oid, LargeObjectManager.READ);
            System.out.println(new String(object.read(5)));
            object.close();
            manager.unlink(oid);
            db.commit();
            db.setAutoCommit(true);
        });
        section("isolation and read only", () -> {
            db.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            db.setAutoCommit(false);
            execute("DELETE FROM shop.tags WHERE name = 'c1'");
            db.commit();
            db.setReadOnly(true);
            try {
                execute("DELETE FROM shop.tags");
            } catch (SQLException error) {
                print(error);
            }
            db.rollback();
            db.setReadOnly(false);
            db.setAutoCommit(true);
            db.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
            query("SELECT name FROM shop.tags ORDER BY 1");
        });
        section("schema of the session", () -> {
            db.setSchema("shop");
            System.out.println(db.getSchema());
            execute("DELETE FROM tags");
            query("SELECT count(*) FROM tags");
            db.setSchema("public");
        });
    }

    public static void main(String[] arguments) throws Exception {
        db = DriverManager.getConnection(arguments[0]);
        section("schema", () -> {
            execute("CREATE SCHEMA shop");
            execute("CREATE TABLE shop.customers (id int PRIMARY KEY, email varchar(40) NOT NULL UNIQUE, name text DEFAULT 'nobody')");
            execute("COMMENT ON TABLE shop.customers IS 'who buys'; COMMENT ON COLUMN shop.customers.email IS 'how to reach them'");
            execute("CREATE TABLE shop.orders (id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES shop.customers ON DELETE CASCADE, total numeric(10, 2), at timestamptz DEFAULT '2026-01-01 00:00:00+00')");
            execute("CREATE INDEX orders_at ON shop.orders (at DESC, customer_id) WHERE total > 0");
            execute("CREATE TABLE shop.lines (order_id int REFERENCES shop.orders ON UPDATE CASCADE ON DELETE CASCADE, n int, thing text, PRIMARY KEY (order_id, n))");
            execute("CREATE TABLE shop.tags (name text PRIMARY KEY)");
            execute("CREATE TABLE shop.files (id int PRIMARY KEY, content oid)");
            execute("CREATE TABLE shop.guarded (id int PRIMARY KEY); CREATE TABLE shop.holds (g int REFERENCES shop.guarded); INSERT INTO shop.guarded VALUES (1); INSERT INTO shop.holds VALUES (1)");
            execute("CREATE VIEW shop.big AS SELECT * FROM shop.orders WHERE total > 10");
            execute("CREATE FUNCTION shop.twice(a int) RETURNS int LANGUAGE sql AS 'SELECT 2 * $1'");
            execute("CREATE TYPE shop.mood AS ENUM ('good', 'bad'); CREATE DOMAIN shop.positive AS int CHECK (VALUE > 0)");
            execute("INSERT INTO shop.customers VALUES (1, 'a@x'), (2, 'b@x', 'Bob'), (3, 'gone')");
            execute("INSERT INTO shop.orders (customer_id, total) VALUES (1, 10), (2, 20), (1, 30), (3, 40)");
            execute("INSERT INTO shop.lines VALUES (1, 1, 'p'), (1, 2, 'q'), (3, 1, 'r'), (4, 1, 's')");
            execute("DELETE FROM shop.customers WHERE id = 3");
        });
        metadata();
        updatable();
        writes();
        prepared();
        copies();
        section("behind ALTER", () -> {
            execute("ALTER TABLE shop.customers ADD COLUMN since date DEFAULT '2026-01-01', DROP COLUMN name");
            execute("ALTER TABLE shop.lines RENAME TO items");
            execute("DELETE FROM shop.items WHERE n = 2");
        });
        metadata();
        db.close();
    }
}
