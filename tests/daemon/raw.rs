//! Varlink by hand, for what a well-behaved client would not say.

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};
use std::io::{IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub(crate) struct Raw(pub(crate) UnixStream);

impl Raw {
    pub(crate) fn connect(socket: &Path) -> Raw {
        let stream = UnixStream::connect(socket).expect("connect");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("timeout");
        Raw(stream)
    }

    pub(crate) fn send(&mut self, message: &Value) {
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.0.write_all(&bytes).expect("send");
    }

    /// The next message; None if the daemon has closed the connection.
    pub(crate) fn receive(&mut self) -> Option<Value> {
        let mut text = Vec::new();
        let mut byte = [0];
        loop {
            match self.0.read(&mut byte) {
                Ok(1) if byte[0] == 0 => {
                    return Some(serde_json::from_slice(&text).expect("JSON"));
                }
                Ok(1) => text.push(byte[0]),
                Ok(_) => return None,
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(e) => panic!("receive: {e}"),
            }
        }
    }

    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Option<Value> {
        self.send(&json!({ "method": method, "parameters": parameters }));
        self.receive()
    }

    /// The descriptors that come with a reply.
    #[expect(unsafe_code, reason = "descriptors arrive as bare numbers")]
    pub(crate) fn call_for_fds(&mut self, method: &str, parameters: Value) -> Vec<OwnedFd> {
        self.send(&json!({ "method": method, "parameters": parameters }));
        let mut text = [0; 4096];
        let mut space = nix::cmsg_space!([i32; 8]);
        let mut parts = [IoSliceMut::new(&mut text)];
        let message = recvmsg::<()>(
            self.0.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )
        .expect("recvmsg");
        let mut fds = Vec::new();
        for control in message.cmsgs().expect("control messages") {
            if let ControlMessageOwned::ScmRights(numbers) = control {
                for number in numbers {
                    // SAFETY: the kernel has just made it for this process alone.
                    fds.push(unsafe { OwnedFd::from_raw_fd(number) });
                }
            }
        }
        fds
    }
}

/// The name of the error in a reply, or nothing.
pub(crate) fn error_of(reply: &Value) -> &str {
    reply["error"].as_str().unwrap_or_default()
}
