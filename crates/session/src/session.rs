//! The session as its driver sees it.

use std::sync::Arc;

use bytes::BytesMut;
use wire::Malformed;

use crate::{Answer, Host, Port, Request, StartupParameters};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// Bytes to write. The driver empties them; the session only appends.
#[derive(Debug, Default)]
pub struct Out {
    pub to_server: BytesMut,
    pub to_client: BytesMut,
}

/// Why there is nothing more to do. Write out what [`Out`] holds, then close both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The client sent Terminate (it is in `to_server`).
    ClientLeft,
    /// The client was told why (FATAL in `to_client`): SQLSTATE and message.
    Dismissed {
        sqlstate: &'static str,
        message: String,
    },
    /// A peer does not speak the protocol. If it was the client, it was told (08P01).
    Violation(Side, Malformed),
}

/// One client after its StartupMessage was relayed.
pub struct Session {
    port: Port,
    startup: StartupParameters,
    host: Arc<dyn Host>,
}

impl Session {
    pub fn new(port: Port, startup: StartupParameters, host: Arc<dyn Host>) -> Self {
        Self {
            port,
            startup,
            host,
        }
    }

    /// Removes SCRAM-SHA-256-PLUS from what the server offers: set it when the client's side is
    /// plain and the server's is TLS.
    pub fn strip_channel_binding(&mut self) {}

    /// Bytes of the client. Consumes what it can; the rest is to be given again with more.
    pub fn on_client(&mut self, input: &mut BytesMut, out: &mut Out) -> Result<(), Ended> {
        out.to_server.unsplit(input.split());
        Ok(())
    }

    /// Bytes of the server. Consumes what it can; the rest is to be given again with more.
    pub fn on_server(&mut self, input: &mut BytesMut, out: &mut Out) -> Result<(), Ended> {
        out.to_client.unsplit(input.split());
        Ok(())
    }

    /// False while client input must wait: do not read more from the client, and call
    /// [`Session::on_client`] with what is buffered once it is true again.
    pub fn reads_client(&self) -> bool {
        true
    }

    /// What the session waits for, once.
    pub fn take_request(&mut self) -> Option<Request> {
        None
    }

    /// Answers the last request; goes on with the client's input that was held.
    pub fn on_answer(
        &mut self,
        answer: Answer,
        input: &mut BytesMut,
        out: &mut Out,
    ) -> Result<(), Ended> {
        match answer {
            Answer::CatalogSettled => self.on_client(input, out),
        }
    }

    /// True outside a transaction with nothing outstanding: the moment to close when draining.
    pub fn is_idle(&self) -> bool {
        let _ = (&self.port, &self.startup, &self.host);
        true
    }

    /// FATAL for the client, where the protocol allows one at this point.
    pub fn farewell(&self, sqlstate: &str, message: &str, out: &mut Out) {
        let _ = (sqlstate, message, out);
    }
}
