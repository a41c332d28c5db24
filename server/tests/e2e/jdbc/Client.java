// What Java's tools do with a connection, over the table `rides`: one line per question, its name and what came back.
//
//   java -cp postgresql.jar Client.java jdbc:postgresql://host:port/headwater

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.time.Instant;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.UUID;

public class Client {
    interface Question {
        Object ask() throws Exception;
    }

    static void ask(String name, Question question) {
        String answer;
        try {
            answer = String.valueOf(question.ask());
        } catch (SQLException failure) {
            answer = "SQLSTATE " + failure.getSQLState() + ": " + failure.getMessage();
        } catch (Exception failure) {
            answer = failure.toString();
        }
        System.out.println(name + "\t" + answer.replace('\n', ' '));
    }

    /** A column of each row, or how many rows there are. */
    static Object column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                for (int at = 1; at <= rows.getMetaData().getColumnCount(); at++) {
                    rows.getObject(at);
                }
                values.add(name == null ? "" : rows.getString(name));
            }
        }
        return name == null ? values.size() : values;
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("user", "alice");
        try (Connection connection = DriverManager.getConnection(arguments[0], properties)) {
            listings(connection.getMetaData());
            prepared(connection);
            answers(connection);
            limits(connection);
        }
    }

    static void listings(DatabaseMetaData data) throws SQLException {
        String[] shown = {"TABLE", "VIEW", "PARTITIONED TABLE", "FOREIGN TABLE", "MATERIALIZED VIEW"};
        ask("schemas", () -> column(data.getSchemas(), "TABLE_SCHEM"));
        ask("catalogs", () -> column(data.getCatalogs(), "TABLE_CAT"));
        ask("table types", () -> column(data.getTableTypes(), null));
        ask("tables", () -> column(data.getTables(null, "public", "%", shown), "TABLE_NAME"));
        ask("views", () -> column(data.getTables(null, "system", "queries", new String[] {"VIEW"}), "TABLE_NAME"));
        ask("everything", () -> column(data.getTables(null, null, "rides", null), "TABLE_TYPE"));
        ask("columns", () -> column(data.getColumns(null, "public", "rides", "%"), "COLUMN_NAME"));
        ask("column types", () -> column(data.getColumns(null, "public", "rides", "%"), "TYPE_NAME"));
        ask("nullable", () -> column(data.getColumns(null, "public", "rides", "%d"), "IS_NULLABLE"));
        ask("primary keys", () -> column(data.getPrimaryKeys(null, "public", "rides"), null));
        ask("best row", () -> column(data.getBestRowIdentifier(null, "public", "rides", 1, true), null));
        ask("indexes", () -> column(data.getIndexInfo(null, "public", "rides", false, true), null));
        ask("imported keys", () -> column(data.getImportedKeys(null, "public", "rides"), null));
        ask("exported keys", () -> column(data.getExportedKeys(null, "public", "rides"), null));
        ask("cross reference", () -> column(data.getCrossReference(null, "public", "rides", null, null, "rides"), null));
        ask("procedures", () -> column(data.getProcedures(null, "public", "%"), null));
        ask("functions", () -> column(data.getFunctions(null, "pg_catalog", "age"), "FUNCTION_NAME"));
        ask("function columns", () -> column(data.getFunctionColumns(null, null, "pg_sleep", "%"), "TYPE_NAME"));
        ask("user types", () -> column(data.getUDTs(null, "public", "%", null), null));
        ask("types", () -> column(data.getTypeInfo(), "TYPE_NAME").toString().contains("timestamptz"));
        ask("keywords", () -> data.getSQLKeywords().contains("ilike"));
        ask("table privileges", () -> column(data.getTablePrivileges(null, "public", "rides"), null));
        ask("column privileges", () -> column(data.getColumnPrivileges(null, "public", "rides", "%"), null));
    }

    /** Ten runs each: the driver names the statement, and takes to the binary format, after five. */
    static void prepared(Connection connection) {
        Object[][] values = {
            {"id", 7L}, {"small", 7}, {"small", (short) 7}, {"price", new BigDecimal("7.25")}, {"score", 3.5},
            {"ratio", 0.5f}, {"paid", false}, {"city", "Rome"}, {"raw", new byte[] {0, -1}},
            {"at", Timestamp.from(Instant.parse("2026-01-01T00:00:07.250Z"))},
            {"at", OffsetDateTime.parse("2026-01-01T01:00:07.250+01:00")},
            {"day", java.sql.Date.valueOf("2026-01-02")}, {"day", LocalDate.parse("2026-01-02")},
            {"uid", UUID.fromString("6F9619FF-8B86-D011-B42D-00C04FC964FF")},
        };
        for (Object[] value : values) {
            String name = "parameter " + value[0] + " " + value[1].getClass().getSimpleName();
            String sql = "SELECT * FROM rides WHERE id = 7 AND " + value[0] + " = ?";
            ask(name, () -> {
                int found = 0;
                try (PreparedStatement statement = connection.prepareStatement(sql)) {
                    for (int run = 0; run < 10; run++) {
                        statement.setObject(1, value[1]);
                        found += (Integer) column(statement.executeQuery(), null);
                    }
                }
                return found;
            });
        }
        ask("parameter array", () -> {
            try (PreparedStatement statement = connection.prepareStatement("SELECT id FROM rides WHERE id = ANY(?)")) {
                statement.setArray(1, connection.createArrayOf("int8", new Long[] {1L, 2L, 2000L}));
                return column(statement.executeQuery(), null);
            }
        });
        ask("parameter types", () -> {
            String sql = "SELECT id FROM rides WHERE at > ? AND city = ?";
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                ParameterMetaData described = statement.getParameterMetaData();
                return described.getParameterTypeName(1) + " " + described.getParameterTypeName(2);
            }
        });
    }

    static void answers(Connection connection) {
        String sql = "SELECT * FROM rides WHERE id = 7";
        ask("values", () -> {
            try (Statement statement = connection.createStatement(); ResultSet row = statement.executeQuery(sql)) {
                row.next();
                Object[] tags = (Object[]) row.getArray("tags").getArray();
                return row.getTimestamp("at").toInstant() + " " + row.getObject("at", OffsetDateTime.class) + " "
                    + row.getObject("day", LocalDate.class) + " " + row.getBigDecimal("price") + " "
                    + row.getBytes("raw").length + " " + row.getObject("uid", UUID.class) + " " + tags[1];
            }
        });
        ask("column labels", () -> {
            String typed = "SELECT id, price, at, tags, count(*) OVER () AS n FROM rides";
            try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(typed)) {
                ResultSetMetaData described = rows.getMetaData();
                StringBuilder text = new StringBuilder();
                for (int at = 1; at <= described.getColumnCount(); at++) {
                    text.append(described.getColumnLabel(at)).append(':').append(described.getColumnTypeName(at));
                    text.append(':').append(described.isAutoIncrement(at)).append(' ');
                }
                return text.toString().trim();
            }
        });
        ask("cursor", () -> {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(7);
                return column(statement.executeQuery("SELECT id FROM rides ORDER BY id"), null);
            } finally {
                connection.commit();
                connection.setAutoCommit(true);
            }
        });
    }

    static void limits(Connection connection) {
        String endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b "
            + "WHERE (a.value * 31 + b.value * 17) % 7919 = 3";
        ask("rows at most", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.setMaxRows(5);
                return column(statement.executeQuery("SELECT id FROM rides"), null);
            }
        });
        ask("timeout", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                return column(statement.executeQuery(endless), null);
            }
        });
        ask("cancel", () -> {
            try (Statement statement = connection.createStatement()) {
                Thread other = new Thread(() -> ask("cancelled", () -> {
                    Thread.sleep(500);
                    statement.cancel();
                    return "";
                }));
                other.start();
                return column(statement.executeQuery(endless), null);
            }
        });
        ask("read only", () -> {
            connection.setReadOnly(true);
            try (Statement statement = connection.createStatement()) {
                return column(statement.executeQuery("SELECT 1"), null);
            } finally {
                connection.setReadOnly(false);
            }
        });
        ask("write", () -> {
            try (Statement statement = connection.createStatement()) {
                return statement.executeUpdate("DELETE FROM rides");
            }
        });
        ask("valid", () -> connection.isValid(5));
    }
}
