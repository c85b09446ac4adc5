//! What the targets of proxies share: an answer in pieces, and what came of it.

use bowline::handshake::{Proxy, ProxyError, Tunnel};
use bowline::{RecvBuf, SendBuf};

use crate::heads::{Input, fill};

/// All that was sent, and the bytes that follow the proxy's answer.
type Outcome = Result<Option<(Vec<u8>, Vec<u8>)>, ProxyError>;

fn run(proxy: &Proxy, input: &Input<'_>, pieces: &[&[u8]]) -> Outcome {
    let (mut buffer, mut out) = (RecvBuf::new(), SendBuf::new());
    let mut tunnel = Tunnel::new(proxy, "example.com", 443, input.config(), &mut out)
        .expect("a name that every proxy takes");
    let mut outcome = Ok(false);
    for piece in pieces {
        fill(&mut buffer, piece);
        if outcome == Ok(false) {
            outcome = tunnel.read(&mut buffer, &mut out);
        }
    }
    if input.ends() && outcome == Ok(false) {
        buffer.eof();
        outcome = tunnel.read(&mut buffer, &mut out);
    }
    match outcome {
        Ok(false) => Ok(None),
        Ok(true) => {
            let sent = out.pending_slices().flatten().copied().collect();
            let unread = buffer.unread().to_vec();
            assert!(input.bytes.ends_with(&unread), "what follows are the last bytes");
            Ok(Some((sent, unread)))
        }
        Err(error) => {
            assert_eq!(tunnel.read(&mut buffer, &mut out), Err(error.clone()), "errors stick");
            assert!(!error.to_string().is_empty());
            Err(error)
        }
    }
}

/// The answer means the same wherever it is cut.
pub fn check(proxy: &str, input: &Input<'_>) {
    let proxy = Proxy::new(proxy).expect("a valid URL");
    let [whole, cut, each] = input.ways();
    let expected = run(&proxy, input, &whole);
    assert_eq!(run(&proxy, input, &cut), expected);
    assert_eq!(run(&proxy, input, &each), expected);
}
