//! What the rewriter costs, without a server: one look at a text that does not concern us, a plan
//! for one that does, and a text of many megabytes.

use catalog::{Catalog, SearchPath};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use rewrite::{ClientEncoding, Scope, Shape, Template, scan};

const OTHERS: &str = "SELECT u.id, u.email, u.name, o.total FROM accounts u JOIN invoices o ON o.user_id = u.id \
     WHERE u.id = $1 AND o.total > $2 ORDER BY o.id LIMIT 10";
const SELECT: &str = "SELECT p.\"id\", p.\"title\", u.\"email\" FROM \"posts\" p LEFT JOIN \"users\" u ON u.\"id\" = p.\"user_id\" \
     WHERE p.\"views\" > 10 AND u.\"active\" = true ORDER BY p.\"id\" LIMIT 10";
const DELETE: &str = "DELETE FROM \"posts\" AS p0 USING \"users\" AS u1 WHERE u1.\"id\" = p0.\"user_id\" AND u1.\"name\" = 'Ann' \
     AND p0.\"views\" < 10 RETURNING p0.\"id\", p0.\"title\"";

fn main() {
    divan::main();
}

fn catalog() -> Catalog {
    let table = |oid: u32, name: &str, columns: &[&str]| {
        let columns: Vec<String> = columns
            .iter()
            .map(|name| format!("{{\"name\":\"{name}\"}}"))
            .collect();
        format!(
            "{{\"oid\":{oid},\"schema\":\"public\",\"name\":\"{name}\",\"mode\":\"mark\",\"marking\":true,\"kind\":\"r\",\
             \"columns\":[{},{{\"name\":\"deleted_at\",\"hidden\":true}},{{\"name\":\"deletion_id\",\"hidden\":true}}],\
             \"primary_key\":[\"id\"]}}",
            columns.join(",")
        )
    };
    let tables = [
        table(1, "posts", &["id", "user_id", "title", "views"]),
        table(2, "users", &["id", "email", "name", "active"]),
    ];
    let document = format!(
        "{{\"server\":150018,\"tables\":[{}],\"shadows\":[]}}",
        tables.join(",")
    );
    Catalog::from_json(&document).expect("a catalog")
}

fn plan(bencher: Bencher<'_, '_>, text: &str) {
    let catalog = catalog();
    let search_path = SearchPath {
        schemas: vec!["pg_catalog".into(), "public".into()],
        ..SearchPath::default()
    };
    let scope = Scope {
        catalog: &catalog,
        search_path: &search_path,
        standard_conforming_strings: true,
        encoding: ClientEncoding::Utf8,
    };
    bencher.counter(BytesCount::of_str(text)).bench(|| {
        let text = black_box(text.as_bytes());
        let scanned = scan(text, &catalog, true, ClientEncoding::Utf8);
        scanned
            .concerns_us()
            .then(|| scanned.plan(&scope).expect("a plan").edits.apply(text))
    });
}

/// By the plan of another text that differs in its literals only.
fn by_shape(bencher: Bencher<'_, '_>, text: &str, another: &str) {
    let catalog = catalog();
    let search_path = SearchPath {
        schemas: vec!["pg_catalog".into(), "public".into()],
        ..SearchPath::default()
    };
    let scope = Scope {
        catalog: &catalog,
        search_path: &search_path,
        standard_conforming_strings: true,
        encoding: ClientEncoding::Utf8,
    };
    let scanned = scan(another.as_bytes(), &catalog, true, ClientEncoding::Utf8);
    let shape = Shape::of(&scanned).expect("a shape");
    let plan = scanned.plan(&scope).expect("a plan");
    let template = Template::new(&plan, another.as_bytes(), &shape, ClientEncoding::Utf8);
    let template = template.expect("a template");
    bencher.counter(BytesCount::of_str(text)).bench(|| {
        let text = black_box(text.as_bytes());
        let scanned = scan(text, &catalog, true, ClientEncoding::Utf8);
        let shape = Shape::of(&scanned).expect("a shape");
        template.plan(text, &shape).edits.apply(text)
    });
}

#[divan::bench]
fn select_by_shape(bencher: Bencher<'_, '_>) {
    by_shape(bencher, SELECT, &SELECT.replace("10", "12345"));
}

#[divan::bench]
fn delete_by_shape(bencher: Bencher<'_, '_>) {
    by_shape(bencher, DELETE, &DELETE.replace("10", "12345"));
}

#[divan::bench]
fn others(bencher: Bencher<'_, '_>) {
    plan(bencher, OTHERS);
}

#[divan::bench]
fn select(bencher: Bencher<'_, '_>) {
    plan(bencher, SELECT);
}

#[divan::bench]
fn delete(bencher: Bencher<'_, '_>) {
    plan(bencher, DELETE);
}

/// Bytes.
#[divan::bench(args = [5_000_000, 20_000_000], sample_count = 5)]
fn insert(bencher: Bencher<'_, '_>, length: usize) {
    let row = "(1, 2, 'some title of a post', 3)";
    let mut text = format!("INSERT INTO posts VALUES {row}");
    while text.len() < length {
        text.push_str(", ");
        text.push_str(row);
    }
    plan(bencher, &text);
}
