//! Conversations as text. `UPDATE_EXPECT=1 cargo test -p session` writes what the session does now:
//! read it before you keep it.

mod copy;
mod ends;
mod login;
mod parts;
mod prepared;
mod refusals;
mod schema;
mod scope;
mod statements;
#[path = "../support/mod.rs"]
mod support;

use expect_test::Expect;
use support::Talk;

fn check(talk: &mut Talk, script: &str, expected: Expect) {
    talk.run(script);
    expected.assert_eq(&talk.transcript);
}
