//! bowline's side of `dial/choice.py`: prints which proxy the environment means for a URL.

use bowline::handshake::{ClientRequest, InvalidRequest, Proxies};

fn choice(url: &str) -> Result<String, InvalidRequest> {
    let proxies = Proxies::from_env();
    let proxy = proxies.choose(&ClientRequest::new(url)?)?;
    Ok(proxy.map_or_else(|| "none".to_owned(), ToString::to_string))
}

fn main() {
    let url = std::env::args().nth(1).expect("usage: proxy_choice URL");
    match choice(&url) {
        Ok(choice) => println!("{choice}"),
        Err(error) => println!("error: {error}"),
    }
}
