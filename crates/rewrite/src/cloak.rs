//! The system relations in which things of ours stand, and the condition that leaves them out.

use std::cmp::Ordering;

/// One system relation. For the client there is nothing of ours in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cloak {
    pub name: &'static str,
    pub schema: &'static str,
    /// It is a table: its rows have ctid, xmin, tableoid.
    pub stored: bool,
    /// True for rows of ours. `@` is the name that qualifies the columns.
    ours: &'static str,
}

/// A column that shows another value for what is ours.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    column: &'static str,
    value: &'static str,
    /// Where this column is selected, all are masked. Of pg_attribute: who selects it expects no gaps
    /// in the numbers, so what is ours is shown, masked, where leaving it out would make one.
    pub counts: bool,
}

const CATALOG: &str = "pg_catalog";
const INFORMATION: &str = "information_schema";

/// Everything by the oid of a relation.
macro_rules! relation {
    ($column:literal) => {
        concat!("reprieve.hidden_relation_v1(@.", $column, ")")
    };
}

/// A column of ours in a marked table.
macro_rules! marked {
    () => {
        "@.attname = ANY ('{deleted_at,deletion_id}') \
         AND @.attrelid = ANY (SELECT relid FROM reprieve.tables WHERE mode = 'mark')"
    };
}

/// Everything by the oid of a schema.
macro_rules! namespace {
    ($column:literal) => {
        concat!("@.", $column, " = 'reprieve'::pg_catalog.regnamespace")
    };
}

/// Everything by the name of a schema.
macro_rules! named {
    ($column:literal) => {
        concat!("@.", $column, " = 'reprieve'")
    };
}

/// A thing by its catalog and its oid in there.
macro_rules! object {
    ($class:literal, $object:literal) => {
        concat!(
            "reprieve.hidden_object_v1(@.",
            $class,
            ", @.",
            $object,
            // pg_attrdef, pg_constraint, pg_rewrite, pg_trigger, pg_event_trigger.
            ") OR @.",
            $class,
            " = ANY ('{2604,2606,2618,2620,3466}') AND (@.",
            $class,
            ", @.",
            $object,
            ") = ANY (SELECT classid, objid FROM reprieve.hidden_parts_v1())"
        )
    };
}

/// A column by the oid of its table and its number.
macro_rules! numbered {
    ($relation:literal, $column:literal) => {
        concat!(
            "(@.",
            $relation,
            ", @.",
            $column,
            ") = ANY (SELECT attrelid, attnum FROM reprieve.hidden_attributes_v1())"
        )
    };
}

/// Everything in a schema, and a column by names.
macro_rules! column {
    ($schema:literal, $table:literal, $column:literal) => {
        concat!(
            named!($schema),
            " OR @.",
            $column,
            " = ANY ('{deleted_at,deletion_id}') AND (@.",
            $schema,
            ", @.",
            $table,
            ") = ANY (SELECT table_schema, table_name FROM reprieve.marked_names_v1())"
        )
    };
}

/// Everything in a schema, and a trigger by names.
macro_rules! trigger {
    () => {
        "@.event_object_schema = 'reprieve' OR (@.event_object_schema, @.event_object_table, @.trigger_name) \
         = ANY (SELECT table_schema, table_name, trigger_name FROM reprieve.hidden_trigger_names_v1())"
    };
}

/// Of pg_attribute: a column of ours in the middle of a table is a dropped one.
const DROPPED: &[Mask] = &[
    Mask {
        column: "attisdropped",
        value: concat!("(@.attisdropped OR ", marked!(), ")"),
        counts: true,
    },
    Mask {
        column: "attname",
        value: concat!(
            "CASE WHEN ",
            marked!(),
            " THEN CAST(pg_catalog.concat('........pg.dropped.', @.attnum, '........') \
             AS pg_catalog.name) ELSE @.attname END"
        ),
        counts: false,
    },
];

const fn definition(column: &'static str, value: &'static str) -> Mask {
    Mask {
        column,
        value,
        counts: true,
    }
}

const VIEWS: &[Mask] = &[definition(
    "definition",
    "reprieve.view_definition_v1(@.schemaname, @.viewname, @.definition)",
)];

const MATERIALIZED_VIEWS: &[Mask] = &[definition(
    "definition",
    "reprieve.view_definition_v1(@.schemaname, @.matviewname, @.definition)",
)];

const STANDARD_VIEWS: &[Mask] = &[definition(
    "view_definition",
    "CAST(reprieve.view_definition_v1(@.table_schema, @.table_name, @.view_definition) \
     AS information_schema.character_data)",
)];

const TRAILING: &str = concat!(
    "(@.attrelid, @.attnum) = ANY (SELECT attrelid, attnum FROM reprieve.trailing_attributes_v1()) OR ",
    relation!("attrelid")
);

const fn table(name: &'static str, ours: &'static str) -> Cloak {
    Cloak {
        name,
        schema: CATALOG,
        stored: true,
        ours,
    }
}

const fn view(name: &'static str, ours: &'static str) -> Cloak {
    Cloak {
        name,
        schema: CATALOG,
        stored: false,
        ours,
    }
}

const fn standard(name: &'static str, ours: &'static str) -> Cloak {
    Cloak {
        name,
        schema: INFORMATION,
        stored: false,
        ours,
    }
}

/// In order of their names.
const CATALOGS: &[Cloak] = &[
    table("pg_attrdef", relation!("adrelid")),
    table(
        "pg_attribute",
        concat!(marked!(), " OR ", relation!("attrelid")),
    ),
    table(
        "pg_class",
        concat!(
            namespace!("relnamespace"),
            " OR @.relkind = ANY ('{i,t}') AND ",
            relation!("oid")
        ),
    ),
    table(
        "pg_constraint",
        concat!(
            namespace!("connamespace"),
            " OR @.contype = 't' AND @.oid = ANY (SELECT objid FROM reprieve.hidden_parts_v1() \
             WHERE classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass)"
        ),
    ),
    table("pg_default_acl", namespace!("defaclnamespace")),
    table(
        "pg_depend",
        concat!(
            object!("classid", "objid"),
            " OR ",
            object!("refclassid", "refobjid"),
            " OR @.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND @.refobjsubid > 0 AND ",
            numbered!("refobjid", "refobjsubid")
        ),
    ),
    table("pg_description", object!("classoid", "objoid")),
    table("pg_event_trigger", "reprieve.hidden_routine_v1(@.evtfoid)"),
    table("pg_index", relation!("indexrelid")),
    view(
        "pg_indexes",
        concat!(
            named!("schemaname"),
            " OR (@.schemaname, @.indexname) = ANY (SELECT table_schema, index_name FROM reprieve.hidden_index_names_v1())"
        ),
    ),
    view("pg_matviews", named!("schemaname")),
    table("pg_namespace", "@.nspname = 'reprieve'"),
    table("pg_proc", namespace!("pronamespace")),
    view("pg_publication_tables", named!("schemaname")),
    table("pg_rewrite", relation!("ev_class")),
    view("pg_rules", named!("schemaname")),
    table("pg_seclabel", object!("classoid", "objoid")),
    table(
        "pg_shdepend",
        concat!(
            "@.dbid = (SELECT oid FROM pg_catalog.pg_database \
             WHERE datname = pg_catalog.current_database()) AND (",
            object!("classid", "objid"),
            " OR @.objsubid > 0 AND ",
            numbered!("objid", "objsubid"),
            ")"
        ),
    ),
    view("pg_stat_all_indexes", relation!("indexrelid")),
    view("pg_stat_all_tables", relation!("relid")),
    view("pg_stat_sys_indexes", relation!("indexrelid")),
    view("pg_stat_sys_tables", relation!("relid")),
    view(
        "pg_stat_user_functions",
        "reprieve.hidden_routine_v1(@.funcid)",
    ),
    view("pg_stat_user_indexes", relation!("indexrelid")),
    view("pg_stat_user_tables", relation!("relid")),
    view("pg_stat_xact_all_tables", relation!("relid")),
    view("pg_stat_xact_sys_tables", relation!("relid")),
    view(
        "pg_stat_xact_user_functions",
        "reprieve.hidden_routine_v1(@.funcid)",
    ),
    view("pg_stat_xact_user_tables", relation!("relid")),
    view("pg_statio_all_indexes", relation!("indexrelid")),
    view("pg_statio_all_tables", relation!("relid")),
    view("pg_statio_sys_indexes", relation!("indexrelid")),
    view("pg_statio_sys_tables", relation!("relid")),
    view("pg_statio_user_indexes", relation!("indexrelid")),
    view("pg_statio_user_tables", relation!("relid")),
    table(
        "pg_statistic",
        concat!(
            relation!("starelid"),
            " OR ",
            numbered!("starelid", "staattnum")
        ),
    ),
    view(
        "pg_stats",
        concat!(
            named!("schemaname"),
            " OR @.attname = ANY ('{deleted_at,deletion_id}') AND (@.schemaname, @.tablename) \
             = ANY (SELECT table_schema, table_name FROM reprieve.marked_names_v1())"
        ),
    ),
    view("pg_tables", named!("schemaname")),
    table(
        "pg_trigger",
        concat!(
            "reprieve.hidden_routine_v1(@.tgfoid) OR ",
            relation!("tgrelid")
        ),
    ),
    table("pg_type", namespace!("typnamespace")),
    view("pg_views", named!("schemaname")),
];

/// In order of their names.
const STANDARD: &[Cloak] = &[
    standard("attributes", named!("udt_schema")),
    standard("check_constraints", named!("constraint_schema")),
    standard(
        "column_domain_usage",
        column!("table_schema", "table_name", "column_name"),
    ),
    standard(
        "column_options",
        column!("table_schema", "table_name", "column_name"),
    ),
    standard(
        "column_privileges",
        column!("table_schema", "table_name", "column_name"),
    ),
    standard(
        "column_udt_usage",
        column!("table_schema", "table_name", "column_name"),
    ),
    standard(
        "columns",
        column!("table_schema", "table_name", "column_name"),
    ),
    standard("constraint_column_usage", named!("constraint_schema")),
    standard("constraint_table_usage", named!("constraint_schema")),
    standard("data_type_privileges", named!("object_schema")),
    standard("domains", named!("domain_schema")),
    standard("element_types", named!("object_schema")),
    standard("key_column_usage", named!("constraint_schema")),
    standard("parameters", named!("specific_schema")),
    standard("referential_constraints", named!("constraint_schema")),
    standard(
        "role_column_grants",
        column!("table_schema", "table_name", "column_name"),
    ),
    standard("role_routine_grants", named!("specific_schema")),
    standard("role_table_grants", named!("table_schema")),
    standard("role_udt_grants", named!("udt_schema")),
    standard("role_usage_grants", named!("object_schema")),
    standard("routine_column_usage", named!("specific_schema")),
    standard("routine_privileges", named!("specific_schema")),
    standard("routine_routine_usage", named!("specific_schema")),
    standard("routine_sequence_usage", named!("specific_schema")),
    standard("routine_table_usage", named!("specific_schema")),
    standard("routines", named!("specific_schema")),
    standard("schemata", named!("schema_name")),
    standard("table_constraints", named!("constraint_schema")),
    standard("table_privileges", named!("table_schema")),
    standard("tables", named!("table_schema")),
    standard("triggered_update_columns", trigger!()),
    standard("triggers", trigger!()),
    standard("udt_privileges", named!("udt_schema")),
    standard("usage_privileges", named!("object_schema")),
    standard("user_defined_types", named!("user_defined_type_schema")),
    standard(
        "view_column_usage",
        column!("table_schema", "table_name", "column_name"),
    ),
    standard("view_routine_usage", named!("table_schema")),
    standard("view_table_usage", named!("view_schema")),
    standard("views", named!("table_schema")),
];

impl Cloak {
    /// What a folded name means in a schema, if things of ours stand in it.
    pub fn find(schema: &str, name: &str) -> Option<&'static Self> {
        let list = match schema {
            CATALOG => CATALOGS,
            INFORMATION => STANDARD,
            _ => return None,
        };
        let at = list.binary_search_by(|cloak| cloak.name.cmp(name)).ok()?;
        list.get(at)
    }

    /// True for rows that the client may see. Operators are qualified: a client may have its own.
    pub fn condition(&self, qualifier: &str) -> String {
        format!("({}) IS NOT TRUE", written(self.ours, qualifier))
    }

    /// The same where a [`Mask`] counts.
    pub fn masked_condition(&self, qualifier: &str) -> String {
        if self.name == "pg_attribute" {
            return format!("({}) IS NOT TRUE", written(TRAILING, qualifier));
        }
        self.condition(qualifier)
    }

    /// The columns of a relation of which a star shows a masked one.
    pub fn starred(&self) -> Option<&'static [&'static str]> {
        match (self.schema, self.name) {
            (CATALOG, "pg_views") => Some(&["schemaname", "viewname", "viewowner", "definition"]),
            (CATALOG, "pg_matviews") => Some(&[
                "schemaname",
                "matviewname",
                "matviewowner",
                "tablespace",
                "hasindexes",
                "ispopulated",
                "definition",
            ]),
            (INFORMATION, "views") => Some(&[
                "table_catalog",
                "table_schema",
                "table_name",
                "view_definition",
                "check_option",
                "is_updatable",
                "is_insertable_into",
                "is_trigger_updatable",
                "is_trigger_deletable",
                "is_trigger_insertable_into",
            ]),
            _ => None,
        }
    }

    pub fn mask(&self, column: &str) -> Option<&'static Mask> {
        let masks = match (self.schema, self.name) {
            (CATALOG, "pg_attribute") => DROPPED,
            (CATALOG, "pg_views") => VIEWS,
            (CATALOG, "pg_matviews") => MATERIALIZED_VIEWS,
            (INFORMATION, "views") => STANDARD_VIEWS,
            _ => &[],
        };
        masks.iter().find(|mask| mask.column == column)
    }
}

impl Mask {
    pub fn value(&self, qualifier: &str) -> String {
        written(self.value, qualifier)
    }
}

fn written(template: &str, qualifier: &str) -> String {
    let mut sql = String::with_capacity(template.len() * 2);
    for (index, word) in template.split(' ').enumerate() {
        if index > 0 {
            sql.push(' ');
        }
        match word {
            "=" | ">" => {
                sql.push_str("OPERATOR(pg_catalog.");
                sql.push_str(word);
                sql.push(')');
            }
            _ => sql.push_str(&word.replace('@', qualifier)),
        }
    }
    sql
}

/// The function that prints the definition of a view. There is one of that name in schema `reprieve`.
pub(crate) const VIEW_PRINTER: &str = "pg_get_viewdef";

/// True if a word of a statement may name a system relation in which things of ours stand: one of
/// `pg_catalog` by its name, those of `information_schema` by their schema's. Or a function that
/// prints what is ours.
pub(crate) fn may_name(word: &[u8]) -> bool {
    let compare = |name: &str| compare(name.as_bytes(), word);
    match word.get(..3) {
        Some(start) if start.eq_ignore_ascii_case(b"pg_") => {
            let known = CATALOGS.binary_search_by(|cloak| compare(cloak.name));
            known.is_ok() || word.eq_ignore_ascii_case(VIEW_PRINTER.as_bytes())
        }
        Some(start) if start.eq_ignore_ascii_case(b"inf") => {
            word.eq_ignore_ascii_case(INFORMATION.as_bytes())
        }
        _ => false,
    }
}

/// Compares a name in lower case with a word in any case.
fn compare(name: &[u8], word: &[u8]) -> Ordering {
    let lower = word.iter().map(u8::to_ascii_lowercase);
    name.iter().copied().cmp(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_order() {
        for list in [CATALOGS, STANDARD] {
            assert!(list.is_sorted_by_key(|cloak| cloak.name));
            for cloak in list {
                assert_eq!(Cloak::find(cloak.schema, cloak.name), Some(cloak));
            }
        }
        assert!(
            may_name(b"PG_Class") && may_name(b"pg_get_viewdef") && may_name(b"information_schema")
        );
        assert!(!may_name(b"pg_classes") && !may_name(b"pg") && !may_name(b"columns"));
    }

    #[test]
    fn every_condition_is_sql() {
        for cloak in CATALOGS.iter().chain(STANDARD) {
            let sql = format!("SELECT 1 FROM x WHERE {}", cloak.condition("\"a b\""));
            assert!(pg_query::parse(&sql, 0).is_ok(), "{sql}");
        }
    }
}
