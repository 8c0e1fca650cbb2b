//! Which thread does what.
//!
//! What happens once for a client, and all that waits for a clock, runs where the proxy was made. Its messages are relayed by
//! threads that do nothing else, and whose event loop knows no timers: it looks at the clock at each turn where there are any.

use std::io;

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Handle, Runtime};

pub(crate) struct Threads {
    /// Always there, until it is dropped.
    relays: Option<Runtime>,
    home: Home,
    main: Handle,
}

impl Threads {
    /// Starts the relaying threads; the runtime of the caller does everything else.
    pub fn start(relays: usize) -> io::Result<Self> {
        let relays = Builder::new_multi_thread()
            .worker_threads(relays.max(1))
            .thread_name("relay")
            .enable_io()
            .build()?;
        Ok(Self {
            home: Home(relays.handle().clone()),
            relays: Some(relays),
            main: Handle::current(),
        })
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Runs what has no timers in it.
    pub fn relay(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.home.0.spawn(task);
    }

    pub fn main(&self) -> &Handle {
        &self.main
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // The last one to hold us may be a task: it cannot wait for its own thread.
        if let Some(relays) = self.relays.take() {
            relays.shutdown_background();
        }
    }
}

/// Where the sockets of clients live: the event loop of the relaying threads wakes whoever waits for them.
#[derive(Clone)]
pub(crate) struct Home(Handle);

impl Home {
    pub fn tcp(&self, stream: TcpStream) -> io::Result<TcpStream> {
        let stream = stream.into_std()?;
        let _inside = self.0.enter();
        TcpStream::from_std(stream)
    }

    pub fn unix(&self, stream: UnixStream) -> io::Result<UnixStream> {
        let stream = stream.into_std()?;
        let _inside = self.0.enter();
        UnixStream::from_std(stream)
    }
}
