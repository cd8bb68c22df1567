pub mod serve;
pub fn main() -> std::process::ExitCode {
    let mut wishes = serve::Wishes::default();
    let mut args = std::env::args().skip(2);
    while let Some(a) = args.next() { match a.as_str() { "--config" => wishes.config = args.next().map(Into::into), "--listen" => wishes.listen = args.next().and_then(|a| a.parse().ok()), "--data" => wishes.data = args.next().map(Into::into), _ => {} } }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match rt.block_on(serve::serve(&wishes, |n| std::env::var(n).ok())) { Ok(()) => 0.into(), Err(e) => { eprintln!("{e:#}"); 1.into() } }
}
