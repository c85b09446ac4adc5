//! Lists of hosts without a proxy, and URLs of proxies: the first line is a URL, the second a proxy, and the rest a list.
#![no_main]

use bowline::handshake::{ClientRequest, Proxies, Proxy};

libfuzzer_sys::fuzz_target!(|data: &str| {
    let mut lines = data.splitn(3, '\n');
    let [Some(url), Some(proxy), Some(list)] = [lines.next(), lines.next(), lines.next()] else {
        return;
    };
    let (Ok(request), Ok(proxy)) = (ClientRequest::new(url), Proxy::new(proxy)) else {
        return;
    };
    // What is shown is the same proxy, without credentials.
    let shown = proxy.to_string();
    let again = Proxy::new(&shown).expect("what is shown is a URL");
    assert_eq!(again.to_string(), shown);
    assert_eq!((again.host(), again.port()), (proxy.host(), proxy.port()));

    let proxies = Proxies::from(proxy);
    let is_direct = |list: &str| {
        proxies.clone().no_proxy(list).choose(&request).expect("the proxy is valid").is_none()
    };
    assert!(!is_direct(""));
    assert!(is_direct("*"));
    // More entries match no less, and neither does their order matter.
    let has = is_direct(list);
    if list != "*" {
        assert_eq!(is_direct(&format!("other.invalid,{list}")), has);
        assert_eq!(is_direct(&format!("{list},other.invalid")), has);
    }
    // One dot at the end of a name is left out of the comparison. A name with an empty label is none.
    let host = request.host().strip_suffix('.').unwrap_or(request.host());
    if !host.is_empty() && host.split('.').all(|label| !label.is_empty()) {
        assert!(is_direct(host), "the host itself");
        assert!(is_direct(&format!("{list},{}", host.to_ascii_uppercase())));
    }
});
