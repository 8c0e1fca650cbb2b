//! Who is connected: for SHOW CLIENTS, for cancel requests, and to know when all have gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use session::Port;
use tokio::sync::watch;

use crate::upstream::Place;

#[derive(Debug, Clone)]
pub struct ClientInfo {
    pub port: Port,
    pub address: String,
    pub user: String,
    pub database: String,
    pub application: Option<String>,
    pub encrypted: bool,
    pub connected: SystemTime,
    pub place: Place,
    /// Process id and secret of the backend.
    key: Option<Vec<u8>>,
}

impl ClientInfo {
    pub fn new(port: Port, address: String, place: Place, encrypted: bool) -> Self {
        Self {
            port,
            address,
            user: String::new(),
            database: String::new(),
            application: None,
            encrypted,
            connected: SystemTime::now(),
            place,
            key: None,
        }
    }

    pub fn backend_pid(&self) -> Option<i32> {
        let key = self.key.as_ref()?;
        key.first_chunk::<4>()
            .map(|bytes| i32::from_be_bytes(*bytes))
    }
}

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    clients: HashMap<u64, ClientInfo>,
    backends: HashMap<Vec<u8>, Backend>,
}

/// What a cancel request must know of one of our clients' backends.
#[derive(Debug, Clone)]
pub struct Backend {
    pub place: Place,
    /// True while the client's statement has not been sent there yet.
    waits: watch::Receiver<bool>,
}

impl Backend {
    /// Waits until what the client has sent is with the backend: a cancel in front of it would end nothing.
    pub async fn has_statement(&mut self) {
        // An error: the client has gone.
        let _ = self.waits.wait_for(|waits| !waits).await;
    }
}

#[derive(Debug)]
pub struct Clients {
    entries: Mutex<Entries>,
    /// Number of clients on the app port, and on the admin port.
    counts: watch::Sender<(usize, usize)>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            counts: watch::Sender::new((0, 0)),
        }
    }
}

impl Clients {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn register(self: &Arc<Self>, info: ClientInfo) -> Registered {
        let port = info.port;
        let mut entries = self.entries();
        entries.next += 1;
        let id = entries.next;
        entries.clients.insert(id, info);
        drop(entries);
        self.count(port, 1);
        Registered {
            clients: Arc::clone(self),
            id,
            port,
            has_key: false,
        }
    }

    fn count(&self, port: Port, by: isize) {
        self.counts.send_modify(|(app, admin)| {
            let count = match port {
                Port::App => app,
                Port::Admin => admin,
            };
            *count = count.saturating_add_signed(by);
        });
    }

    /// The backend with this key, if one of our clients has it.
    pub fn backend(&self, key: &[u8]) -> Option<Backend> {
        self.entries().backends.get(key).cloned()
    }

    pub fn list(&self) -> Vec<(u64, ClientInfo)> {
        let mut list: Vec<_> = self
            .entries()
            .clients
            .iter()
            .map(|(id, info)| (*id, info.clone()))
            .collect();
        list.sort_by_key(|(id, _)| *id);
        list
    }

    /// App and admin clients.
    pub fn now(&self) -> (usize, usize) {
        *self.counts.borrow()
    }

    /// Waits until no client of the app port is left.
    pub async fn app_gone(&self) {
        let mut counts = self.counts.subscribe();
        let _ = counts.wait_for(|(app, _)| *app == 0).await;
    }

    /// Waits until nobody is left.
    pub async fn all_gone(&self) {
        let mut counts = self.counts.subscribe();
        let _ = counts.wait_for(|(app, admin)| app + admin == 0).await;
    }
}

/// A client is listed as long as this lives.
pub struct Registered {
    clients: Arc<Clients>,
    id: u64,
    port: Port,
    has_key: bool,
}

impl Registered {
    /// Remembers the backend's key, once. `waits` is true while a statement of the client is held back.
    pub fn set_key(&mut self, key: &[u8], waits: watch::Receiver<bool>) {
        if std::mem::replace(&mut self.has_key, true) {
            return;
        }
        let mut entries = self.clients.entries();
        let Some(info) = entries.clients.get_mut(&self.id) else {
            return;
        };
        info.key = Some(key.to_vec());
        let place = info.place.clone();
        entries
            .backends
            .insert(key.to_vec(), Backend { place, waits });
    }

    pub fn has_key(&self) -> bool {
        self.has_key
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut entries = self.clients.entries();
        let info = entries.clients.remove(&self.id);
        if let Some(key) = info.and_then(|info| info.key) {
            entries.backends.remove(&key);
        }
        drop(entries);
        self.clients.count(self.port, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_is_listed_while_it_lives() {
        let clients = Arc::new(Clients::default());
        let place = Place::Tcp {
            host: "a".into(),
            port: 1,
        };
        let info = ClientInfo::new(Port::App, "here".into(), place.clone(), false);
        let mut registered = clients.register(info);
        let key = [0, 0, 0, 7, 1, 2, 3, 4];
        registered.set_key(&key, watch::Sender::new(false).subscribe());
        assert_eq!(clients.backend(&key).unwrap().place, place);
        assert_eq!(clients.list()[0].1.backend_pid(), Some(7));
        assert_eq!(clients.now(), (1, 0));
        drop(registered);
        assert!(clients.backend(&key).is_none());
        clients.all_gone().await;
    }
}
