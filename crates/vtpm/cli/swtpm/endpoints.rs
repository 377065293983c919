//! Opening the places where clients come from: sockets to listen at, descriptors that were inherited, devices.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, bail};
use rustix::fs::FileType;
use rustix::net::sockopt::socket_acceptconn;
use tpm_proxy_device::ProxyDevice;
use tpm_server::swtpm::Endpoints;
use tpm_server::{Listener, Stream};

use super::arguments::Place;
use crate::cli::process::inherited;
use crate::cli::sockets::{Activated, IntoServer, SocketFile, listen_tcp, listen_unix};

/// Everything that clients come through, and the files that go with it.
#[derive(Default)]
pub(super) struct Open {
    pub(super) endpoints: Endpoints,
    files: Vec<SocketFile>,
}

impl Open {
    /// Opens the data channel.
    pub(super) fn data(&mut self, place: &Place) -> anyhow::Result<()> {
        let opened = self.open(place).context("the data channel")?;
        self.set_data(opened);
        Ok(())
    }

    /// Opens the control channel.
    pub(super) fn control(&mut self, place: &Place) -> anyhow::Result<()> {
        let opened = self.open(place).context("the control channel")?;
        self.set_control(opened);
        Ok(())
    }

    /// Takes the sockets that a service manager has opened. Those without a telling name are the control channel first, the data
    /// channel second, as far as the command line has not spoken of them.
    pub(super) fn activated(&mut self, sockets: Vec<Activated>) -> anyhow::Result<()> {
        for Activated { name, descriptor } in sockets {
            let opened = opened(descriptor, false)
                .with_context(|| format!("the socket '{name}' from the service manager"))?;
            match name.as_str() {
                "ctrl" | "control" if !self.has_control() => self.set_control(opened),
                "data" | "server" if !self.has_data() => self.set_data(opened),
                "ctrl" | "control" | "data" | "server" => {
                    bail!("the service manager passed a second socket '{name}'")
                }
                _ if !self.has_control() => self.set_control(opened),
                _ if !self.has_data() => self.set_data(opened),
                _ => bail!("there is no use for the socket '{name}' from the service manager"),
            }
        }
        Ok(())
    }

    /// Whether anybody could connect.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_data() && !self.has_control()
    }

    fn has_data(&self) -> bool {
        self.endpoints.data_listener.is_some() || self.endpoints.data_client.is_some()
    }

    fn has_control(&self) -> bool {
        self.endpoints.control_listener.is_some() || self.endpoints.control_client.is_some()
    }

    fn set_data(&mut self, opened: Opened) {
        match opened {
            Opened::Listening(listener) => self.endpoints.data_listener = Some(listener),
            Opened::Connected(stream) => self.endpoints.data_client = Some(stream),
        }
    }

    fn set_control(&mut self, opened: Opened) {
        match opened {
            Opened::Listening(listener) => self.endpoints.control_listener = Some(listener),
            Opened::Connected(stream) => self.endpoints.control_client = Some(stream),
        }
    }

    fn open(&mut self, place: &Place) -> anyhow::Result<Opened> {
        Ok(match place {
            Place::Tcp {
                port,
                address,
                interface,
            } => {
                let listener = listen_tcp(*address, *port, interface.as_deref())
                    .with_context(|| format!("TCP port {port} of {address}"))?;
                Opened::Listening(listener.into_server()?)
            }
            Place::Unix {
                path,
                mode,
                owner,
                group,
            } => {
                let place = || path.display().to_string();
                let (listener, file) = listen_unix(path, *mode).with_context(place)?;
                self.files.push(file);
                std::os::unix::fs::chown(path, *owner, *group).with_context(place)?;
                Opened::Listening(listener.into_server()?)
            }
            Place::Descriptor(number) => opened(descriptor(*number)?, false)
                .with_context(|| format!("descriptor {number}"))?,
            Place::DeviceDescriptor(number) => opened(descriptor(*number)?, true)
                .with_context(|| format!("descriptor {number}"))?,
            Place::Device(path) => device(path)?,
            Place::Proxy => proxy()?,
        })
    }
}

enum Opened {
    Listening(Listener),
    Connected(Stream),
}

/// What an open descriptor is: a listening socket, a connected one, or a device where one is expected. The kernel's vTPM proxy gives out
/// files that are of no kind at all.
fn opened(descriptor: OwnedFd, may_be_device: bool) -> anyhow::Result<Opened> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode);
    if may_be_device && matches!(kind, FileType::CharacterDevice | FileType::Unknown) {
        return Ok(Opened::Connected(Stream::from_device(descriptor.into())?));
    }
    if kind != FileType::Socket {
        let device = if may_be_device { " nor a device" } else { "" };
        bail!("it is neither a socket{device}");
    }
    Ok(if socket_acceptconn(&descriptor)? {
        Opened::Listening(Listener::from_descriptor(descriptor)?)
    } else {
        Opened::Connected(Stream::from_descriptor(descriptor)?)
    })
}

fn device(path: &Path) -> anyhow::Result<Opened> {
    let what = || format!("the device {}", path.display());
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .with_context(what)?;
    opened(file.into(), true).with_context(what)
}

/// Makes a device and prints which, in the words that callers of swtpm look for.
fn proxy() -> anyhow::Result<Opened> {
    let device = ProxyDevice::create().context("--vtpm-proxy")?;
    let stream = Stream::from_device(device.descriptor.into()).context("--vtpm-proxy")?;
    let mut out = io::stdout();
    writeln!(
        out,
        "New TPM device: /dev/tpm{} (major/minor = {}/{})",
        device.number, device.major, device.minor
    )?;
    out.flush()?;
    Ok(Opened::Connected(stream))
}

/// A duplicate of an inherited descriptor.
pub(super) fn descriptor(number: i32) -> anyhow::Result<OwnedFd> {
    inherited(number).with_context(|| format!("descriptor {number} is not open"))
}
