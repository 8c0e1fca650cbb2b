//! Who is let in, and when.

use expect_test::expect;
use session::Port;

use crate::check;
use crate::support::Talk;

#[test]
fn authentication_passes_and_early_statements_wait() {
    check(
        &mut Talk::new(Port::App, false, "ready t"),
        "S Auth 5
         C Password x | Query SELECT 1
         S Auth 0 | Param client_encoding UTF8 | Key
         S Ready I",
        expect![[r#"
            S Auth 5
              < Auth 
            C Password x | Query SELECT 1
              > Password x
              holds
            S Auth 0 | Param client_encoding UTF8 | Key
              < Auth  | Param client_encoding UTF8 | Key
              holds
            S Ready I
              > Query SELECT 1
              < Ready I
        "#]],
    );
}

#[test]
fn scram_plus_is_stripped_where_the_channels_differ() {
    let mut talk = Talk::new(Port::App, false, "ready t");
    check(
        &mut talk,
        "S Sasl SCRAM-SHA-256-PLUS SCRAM-SHA-256",
        expect![[r#"
            S Sasl SCRAM-SHA-256-PLUS SCRAM-SHA-256
              < Auth  SCRAM-SHA-256-PLUS SCRAM-SHA-256
        "#]],
    );
    let mut talk = Talk::new(Port::App, false, "ready t");
    talk.session.strip_channel_binding();
    check(
        &mut talk,
        "S Sasl SCRAM-SHA-256-PLUS SCRAM-SHA-256",
        expect![[r#"
            S Sasl SCRAM-SHA-256-PLUS SCRAM-SHA-256
              < Auth  SCRAM-SHA-256
        "#]],
    );
}

#[test]
fn without_a_keeper_nothing_is_injected() {
    check(
        &mut Talk::ready("missing"),
        "C Query CREATE TABLE u () | Query DELETE FROM t
         S Complete CREATE TABLE | Ready I
         S Complete DELETE 3 | Ready I",
        expect![[r#"
            C Query CREATE TABLE u () | Query DELETE FROM t
              > Query CREATE TABLE u () | Query DELETE FROM t
            S Complete CREATE TABLE | Ready I
              < Complete CREATE TABLE | Ready I
            S Complete DELETE 3 | Ready I
              < Complete DELETE 3 | Ready I
        "#]],
    );
}

#[test]
fn no_statement_is_served_without_a_catalog() {
    check(
        &mut Talk::ready("loading"),
        "C Query SELECT 1
         H ready t
         A
         S Complete SELECT 1 | Ready I
         H unavailable the keeper's connection is lost
         C Query SELECT 1
         S Error 42703 column | Ready I",
        expect![[r#"
            C Query SELECT 1
              request: AwaitCatalog
            H ready t
              holds
            A
              > Query SELECT 1
            S Complete SELECT 1 | Ready I
              < Complete SELECT 1 | Ready I
            H unavailable the keeper's connection is lost
            C Query SELECT 1
              > Query SELECT "refused by reprieve"
            S Error 42703 column | Ready I
              < Error S=ERROR C=57P03 M=the catalog of the soft-delete proxy is not available: the keeper's connection is lost H=Try again in a moment. | Ready I
        "#]],
    );
}

#[test]
fn the_admin_port_is_for_members() {
    check(
        &mut Talk::new(Port::Admin, false, "ready t"),
        "S Auth 0 | Param client_encoding UTF8 | Key 1 | Ready I
         S Answer t | Ready I
         C Query DELETE FROM t
         S Complete DELETE 1 | Ready I",
        expect![[r#"
            S Auth 0 | Param client_encoding UTF8 | Key 1 | Ready I
              > Parse reprieve_probe SELECT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) 'reprieve_admin' | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Auth  | Param client_encoding UTF8 | Key
              holds
            S Answer t | Ready I
              < Ready I
            C Query DELETE FROM t
              > Query DELETE FROM t
            S Complete DELETE 1 | Ready I
              < Complete DELETE 1 | Ready I
        "#]],
    );
    check(
        &mut Talk::new(Port::Admin, false, "ready t"),
        "S Auth 0 | Key 1 | Ready I
         S Answer f | Ready I",
        expect![[r#"
            S Auth 0 | Key 1 | Ready I
              > Parse reprieve_probe SELECT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) 'reprieve_admin' | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Auth  | Key
              holds
            S Answer f | Ready I
              < Error S=FATAL C=42501 M=role "ann" is not allowed to use the admin port H=The admin port is for members of role reprieve_admin.
              ended: Dismissed { sqlstate: "42501", message: "role \"ann\" is not allowed to use the admin port" }
        "#]],
    );
    check(
        &mut Talk::new(Port::Admin, false, "ready t"),
        "S Auth 0 | Key 1 | Ready I
         S Parsed | Bound | Complete SELECT 0 | Closed | Closed | Ready I",
        expect![[r#"
            S Auth 0 | Key 1 | Ready I
              > Parse reprieve_probe SELECT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER') FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) 'reprieve_admin' | Bind reprieve_probe reprieve_probe | Execute reprieve_probe | Close Preprieve_probe | Close Sreprieve_probe | Sync
              < Auth  | Key
              holds
            S Parsed | Bound | Complete SELECT 0 | Closed | Closed | Ready I
              < Error S=FATAL C=42501 M=role "ann" is not allowed to use the admin port H=The admin port is for members of role reprieve_admin.
              ended: Dismissed { sqlstate: "42501", message: "role \"ann\" is not allowed to use the admin port" }
        "#]],
    );
}

#[test]
fn replication_passes_only_where_nothing_is_enabled() {
    check(
        &mut Talk::new(Port::App, true, "ready"),
        "S Auth 0 | Ready I
         C Query START_REPLICATION SLOT s LOGICAL 0/0
         S Raw 57 00 00 00 07 00 00 00",
        expect![[r#"
            S Auth 0 | Ready I
              < Auth  | Ready I
            C Query START_REPLICATION SLOT s LOGICAL 0/0
              > Query START_REPLICATION SLOT s LOGICAL 0/0
            S Raw 57 00 00 00 07 00 00 00
              < W
        "#]],
    );
    check(
        &mut Talk::new(Port::App, true, "loading"),
        "S Auth 0 | Ready I
         H ready t
         A",
        expect![[r#"
            S Auth 0 | Ready I
              < Auth 
              request: AwaitCatalog
            H ready t
              holds
            A
              < Error S=FATAL C=0A000 M=replication connections are not supported while soft delete is enabled H=Connect to the server directly: the stream shows rows as they are stored.
              ended: Dismissed { sqlstate: "0A000", message: "replication connections are not supported while soft delete is enabled" }
        "#]],
    );
}
