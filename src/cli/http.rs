//! The HTTP surface, as it is typed: where a process listens, and where a command asks.

use super::exit::{Code, Failure, OrExit, Outcome};
use crate::health::Health;
use crate::http::client::{Place, parse_url};
use crate::http::guard::Guard;
use crate::http::{Listeners, Places, Server, Surface};
use crate::metrics::Metrics;
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// Where a worker listens unless told otherwise.
pub const WORKER_PORT: u16 = 8080;
/// Where a scanner does: beside a worker in one pod.
pub const SCANNER_PORT: u16 = 8081;

/// A port, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// This one; 0 for any that is free.
    At(u16),
    /// Nothing is listened on.
    Off,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "off" => Ok(Self::Off),
            number => number.parse().map(Self::At).map_err(|_| {
                format!("{text:?} is no port: write a number up to 65535, 0 for any that is free, or off")
            }),
        }
    }
}

/// Where a process listens, and who may drain it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Serve health, metrics and the machine's page on this port: a number, 0 for any that is free, or off [default: 8080; of a
    /// scanner 8081]
    #[arg(long, value_name = "PORT|off", env = "HEALTH_PORT")]
    pub health_port: Option<Port>,
    /// The address of that port
    #[arg(long, value_name = "IP", env = "HEALTH_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub health_address: IpAddr,
    /// Who shows the token in this file may drain from anywhere; without it only this host may. It is read anew for each request
    #[arg(long, value_name = "FILE", env = "ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// Serve the same on this socket in the file system, for a sidecar; whoever may open it may drain
    #[arg(long, value_name = "PATH", env = "ADMIN_SOCKET")]
    pub admin_socket: Option<PathBuf>,
}

impl HttpArgs {
    /// Opens the listeners and serves on them. Whoever probes is answered from here on.
    ///
    /// # Errors
    /// When a port, a socket or a token cannot be used: exit 78.
    pub fn serve(&self, port: u16, health: &Arc<Health>, metrics: &Arc<Metrics>) -> Outcome<Server> {
        let guard =
            Guard::new(self.admin_token_file.clone()).map_err(|text| Failure::new(Code::Config, text))?;
        let tcp = match self.health_port.unwrap_or(Port::At(port)) {
            Port::At(port) => Some(SocketAddr::new(self.health_address, port)),
            Port::Off => None,
        };
        if tcp.is_none() && self.admin_socket.is_none() && self.admin_token_file.is_some() {
            let text = "--admin-token-file with --health-port off: nobody could show the token; leave one of them out";
            return Err(Failure::new(Code::Config, text));
        }
        let places = Places { tcp, socket: self.admin_socket.clone() };
        let listeners = Listeners::open(&places).or_exit(Code::Config)?;
        let surface = Surface { health: Arc::clone(health), metrics: Arc::clone(metrics), guard };
        let server = Server::start(listeners, surface).or_exit(Code::Fault)?;
        if let Some(address) = server.address() {
            tracing::info!(%address, "serving health and metrics");
        }
        if let Some(socket) = &self.admin_socket {
            tracing::info!(socket = %socket.display(), "serving health, metrics and drain on a socket");
        }
        Ok(server)
    }
}

/// Which process a command asks.
#[derive(Debug, Clone, Args)]
pub struct AskArgs {
    /// Where it listens, as in http://HOST:PORT. Wins over the port
    #[arg(long, value_name = "URL", value_parser = parse_url, conflicts_with = "socket")]
    pub url: Option<Place>,
    /// Its port on this host [default: 8080, a worker's; a scanner's is 8081]
    #[arg(long, value_name = "PORT", env = "HEALTH_PORT")]
    pub port: Option<Port>,
    /// Its address on this host
    #[arg(long, value_name = "IP", env = "HEALTH_ADDRESS", hide = true)]
    pub address: Option<IpAddr>,
    /// Its socket in the file system. Wins over the port
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

impl AskArgs {
    /// Where to ask.
    ///
    /// # Errors
    /// When it was told to listen nowhere: exit 78.
    pub fn place(&self) -> Outcome<Place> {
        if let Some(socket) = &self.socket {
            return Ok(Place::Socket(socket.clone()));
        }
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        match self.port.unwrap_or(Port::At(WORKER_PORT)) {
            Port::At(port @ 1..) => Ok(Place::Host(self.host(), port)),
            Port::At(0) | Port::Off => Err(Failure::new(
                Code::Config,
                "which port? HEALTH_PORT names none; give --port, --url or --socket",
            )),
        }
    }

    /// A process that listens on all addresses is asked on the loopback, which may drain it.
    fn host(&self) -> String {
        match self.address {
            None => Ipv4Addr::LOCALHOST.to_string(),
            Some(address) if !address.is_unspecified() => address.to_string(),
            Some(IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.to_string(),
            Some(IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        ask: AskArgs,
    }

    fn place(words: &[&str]) -> Outcome<Place> {
        let words = std::iter::once("roboflow").chain(words.iter().copied());
        Typed::try_parse_from(words).unwrap().ask.place()
    }

    #[test]
    fn a_port_is_a_number_or_off() {
        assert_eq!("8080".parse(), Ok(Port::At(8080)));
        assert_eq!("off".parse(), Ok(Port::Off));
        for wrong in ["", "-1", "65536", "http", "Off "] {
            assert!(wrong.parse::<Port>().unwrap_err().contains("off"), "{wrong}");
        }
    }

    #[test]
    fn a_process_is_asked_where_it_listens() {
        let host = |host: &str, port| Place::Host(host.to_owned(), port);
        assert_eq!(place(&["--port", "9"]).unwrap(), host("127.0.0.1", 9));
        assert_eq!(place(&["--port", "9", "--address", "0.0.0.0"]).unwrap(), host("127.0.0.1", 9));
        assert_eq!(place(&["--port", "9", "--address", "::"]).unwrap(), host("::1", 9));
        assert_eq!(place(&["--port", "9", "--address", "10.0.0.7"]).unwrap(), host("10.0.0.7", 9));
        assert_eq!(place(&["--url", "http://w:1"]).unwrap(), host("w", 1));
        assert_eq!(place(&["--socket", "a"]).unwrap(), Place::Socket("a".into()));
        for none in ["off", "0"] {
            assert!(place(&["--port", none]).unwrap_err().error.to_string().contains("--port"), "{none}");
        }
    }
}
